"""The vision transformer of DINOv3."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .dinov2_vit import DINOv2VisionTransformer


class RotaryPositions(nn.Module):
    """Rotate queries or keys of patches by angles of their rows and columns (RoPE).

    Source: `DINOv3 <https://arxiv.org/abs/2508.10104>`_. Centers of patches have coordinates from
    -1 to 1 in any grid. Half of the pairs of channels turn with the row, half with the column.

    Args:
        width: Channels of a head, a multiple of 4.
        temperature: Bound of the periods, which rise from 1 towards it, in halves of an image.

    Raises:
        ValueError: If ``width`` is no multiple of 4.
    """

    periods: Tensor

    def __init__(self, width: int, temperature: float = 100.0) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(
                f'arch: its heads have {width} channels, rotary positions need a multiple of 4.'
            )
        periods = temperature ** (4 * torch.arange(width // 4) / width)
        self.register_buffer('periods', periods, persistent=False)
        self._cos = self._sin = torch.empty(0, width)

    def set_grid(self, rows: int, columns: int) -> None:
        """Set the rows and columns of patches of the next forward passes."""
        axes = [
            (torch.arange(number, device=self.periods.device) + 0.5) / number * 2 - 1
            for number in (rows, columns)
        ]
        # (N, 2, 1) / (w / 4,) -> (N, w / 2) -> (N, w)
        centers = torch.stack(torch.meshgrid(*axes, indexing='ij'), dim=-1).flatten(0, 1)
        angles = (2 * pi * centers[..., None] / self.periods).flatten(1).tile(2)
        self._cos, self._sin = angles.cos(), angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        """Rotate the last tokens of (B, heads, T, w), which are the patches."""
        number = len(self._cos)
        others, patches = x.split([x.shape[2] - number, number], dim=2)
        first, second = patches.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
        patches = patches * self._cos + turned * self._sin
        return torch.cat((others, patches.to(x.dtype)), dim=2)


class _RotaryAttention:
    """Attention between queries and keys that are rotated before."""

    def __init__(self, positions: RotaryPositions, attention: Callable[..., Tensor]) -> None:
        self.positions = positions
        self.attention = attention

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, **kwargs: Any) -> Tensor:
        return self.attention(self.positions(query), self.positions(key), value, **kwargs)


@MODELS.register_module()
class DINOv3VisionTransformer(DINOv2VisionTransformer):
    """DINOv2's transformer with rotary positions in place of learned ones.

    It has the features of the published ViT-S, B and L of DINOv3, which have 4 registers and no
    ``qkv_bias``. Published training also shifts and scales the coordinates; this one does not.

    Args:
        norm_cfg: Config of the norms.
        **kwargs: As for :class:`DINOv2VisionTransformer`; ``pos_embed_offset`` has no effect.

    Raises:
        ValueError: As for that class, or if heads have no multiple of 4 channels.
    """

    def __init__(self, norm_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(norm_cfg=norm_cfg or dict(type='LN', eps=1e-5), **kwargs)
        self.pos_embed = None
        self.rotary = RotaryPositions(self.embed_dims // self.arch_settings['num_heads'])
        for layer in self.layers:
            attention = layer.attn.scaled_dot_product_attention
            layer.attn.scaled_dot_product_attention = _RotaryAttention(self.rotary, attention)

    def _positions(self, resolution: tuple[int, int]) -> Tensor:
        self.rotary.set_grid(*resolution)
        # Nothing is added to the tokens.
        return self.cls_token.new_zeros(1)
