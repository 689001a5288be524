"""A vision transformer whose position embedding is interpolated as in the published code."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from ...utils.arguments import is_number


@MODELS.register_module()
class OffsetVisionTransformer(VisionTransformer):
    """MMPretrain's ``VisionTransformer`` with an offset for views of another size.

    The code published with DINO, iBOT and HVP adds 0.1 to the rows and columns of patches before it
    interpolates the position embedding to them, against rounding errors (``vision_transformer.py``
    of `facebookresearch/dino <https://github.com/facebookresearch/dino>`_). That scales the grid of
    a local crop by 6.1 / 14 instead of 6 / 14. Views of ``img_size`` are not concerned. Parameters
    have the names of ``VisionTransformer``.

    Args:
        pos_embed_offset: What is added, in patches; 0.1 as published, 0 as in MMPretrain.
        **kwargs: As for ``VisionTransformer``.

    Raises:
        ValueError: If the offset is not in [0, 1), there is no [CLS] token, or ``out_indices`` asks
            for other layers than the last.
    """

    def __init__(self, pos_embed_offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_number(pos_embed_offset) or not 0 <= pos_embed_offset < 1:
            raise ValueError(
                f'pos_embed_offset={pos_embed_offset!r} must be at least 0 and below 1: 0.1 for '
                "the published interpolation, 0 for MMPretrain's."
            )
        name = type(self).__name__
        if self.cls_token is None:
            raise ValueError(f'with_cls_token=False: {name} needs the [CLS] token, leave it out.')
        if list(self.out_indices) != [self.num_layers - 1]:
            raise ValueError(
                f'out_indices={list(self.out_indices)}: {name} gives the tokens of its last layer '
                f'({self.num_layers - 1}) alone, leave it out.'
            )
        self.pos_embed_offset = pos_embed_offset

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The output of the last layer of images (B, 3, H, W), see ``out_type``.

        H and W are multiples of the patch size.
        """
        tokens, resolution = self.patch_embed(x)
        return (self._format_output(self._encode(tokens, resolution), resolution),)

    def _encode(self, tokens: Tensor, resolution: tuple[int, int]) -> Tensor:
        """Map embedded patches (B, N, C) to tokens (B, 1 + N, C), the [CLS] token first."""
        # Not len(tokens): a traced model would keep the size of its batch.
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        tokens = tokens + self._positions(resolution)
        tokens = self._forward_layers(self.pre_norm(self.drop_after_pos(tokens)))
        return self.ln1(tokens) if self.final_norm else tokens

    def _forward_layers(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens

    def _positions(self, resolution: tuple[int, int]) -> Tensor:
        """The position embedding (1, 1 + N, C) of rows and columns of patches."""
        rows, columns = self.patch_resolution
        if not self.pos_embed_offset or tuple(resolution) == (rows, columns):
            extra, mode = self.num_extra_tokens, self.interpolate_mode
            return self.resize_pos_embed(self.pos_embed, (rows, columns), resolution, mode, extra)
        cls, patches = self.pos_embed.split([1, rows * columns], dim=1)
        # (1, h w, C) -> (1, C, h, w); half precision cannot be interpolated everywhere.
        grid = patches.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
        grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
        scale = [
            (wanted + self.pos_embed_offset) / given
            for wanted, given in zip(resolution, (rows, columns))
        ]
        grid = F.interpolate(grid, scale_factor=scale, mode=self.interpolate_mode)
        return torch.cat((cls, grid.flatten(2).mT.to(cls.dtype)), dim=1)
