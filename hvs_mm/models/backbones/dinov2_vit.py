"""The vision transformer of DINOv2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import to_2tuple
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...utils.arguments import check_choice, check_whole
from .masked_vit import MaskedVisionTransformer
from .sample_drop import SampleDropLayer, SampleDropRate

#: MMPretrain's name of a feed-forward part by ours.
_FFN_TYPES = {'mlp': 'origin', 'swiglu': 'swiglu_fused'}


@MODELS.register_module()
class DINOv2VisionTransformer(MaskedVisionTransformer):
    """MMPretrain's ``VisionTransformer`` with masks and what DINOv2 adds.

    Sources: `DINOv2 <https://arxiv.org/abs/2304.07193>`_, appendix B, and for registers `arXiv
    2309.16588 <https://arxiv.org/abs/2309.16588>`_. ``layer_scale_init_value`` of
    ``VisionTransformer`` gives the layer scale, ``1e-5`` there. Parameters have MMPretrain's names,
    and besides ``mask_token`` and ``register_tokens``.

    Args:
        num_registers: Extra tokens between the [CLS] token and the patches, without a position and
            without an output.
        ffn: ``'mlp'``, or ``'swiglu'`` with two thirds of ``feedforward_channels``.
        drop_path_rate: Rate of stochastic depth.
        uniform_drop_path: Whether all layers have this rate; otherwise it rises from 0 with depth.
        drop_path: ``'path'`` computes every residual and drops some, each with the probability of
            the rate. ``'samples'`` computes those of a random share ``1 - rate`` of the batch, at
            least of one image, which is faster.
        cls_only: Give the [CLS] token (B, C) alone, for methods that mask no patches.
        **kwargs: As for :class:`MaskedVisionTransformer`.

    Raises:
        ValueError: If ``num_registers`` is negative, ``ffn`` or ``drop_path`` unknown, or
            ``img_size`` no multiple of ``patch_size``; or as for :class:`MaskedVisionTransformer`.
    """

    def __init__(
        self,
        num_registers: int = 0,
        ffn: str = 'mlp',
        drop_path_rate: float = 0.0,
        uniform_drop_path: bool = False,
        drop_path: str = 'path',
        cls_only: bool = False,
        **kwargs: Any,
    ) -> None:
        check_whole('num_registers', num_registers, 0)
        check_choice('ffn', ffn, _FFN_TYPES)
        check_choice('drop_path', drop_path, ('path', 'samples'))
        _check_patches(kwargs.get('img_size', 224), kwargs.get('patch_size', 16))
        layer_cfgs: dict[str, Any] = {'ffn_type': _FFN_TYPES[ffn]}
        if uniform_drop_path:
            layer_cfgs['drop_path_rate'] = drop_path_rate
        super().__init__(drop_path_rate=drop_path_rate, layer_cfgs=layer_cfgs, **kwargs)
        if cls_only:
            self.out_type = 'cls_token'
        # DistributedDataParallel wants a gradient of all that have one.
        self.mask_token.requires_grad_(not cls_only)
        self.num_registers = num_registers
        if num_registers:
            self.register_tokens = nn.Parameter(torch.empty(1, num_registers, self.embed_dims))
            nn.init.normal_(self.register_tokens, std=1e-6)
        for layer in self.layers:
            if ffn == 'swiglu':
                # Upstream leaves the feed-forward part without stochastic depth here.
                layer.ffn.dropout_layer = DropPath(layer.attn.out_drop.drop_prob)
            if drop_path == 'samples':
                _drop_samples(layer)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor]:
        """As of :class:`MaskedVisionTransformer`, or the [CLS] token ((B, C),)."""
        (tokens,) = super().forward(x, mask)
        return (self._format_output(tokens, ()),)

    def _forward_layers(self, tokens: Tensor) -> Tensor:
        if not self.num_registers:
            return super()._forward_layers(tokens)
        # (B, 1 + N, C) -> (B, 1 + R + N, C) and back
        registers = self.register_tokens.expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        tokens = torch.cat((tokens[:, :1], registers, tokens[:, 1:]), dim=1)
        tokens = super()._forward_layers(tokens)
        return torch.cat((tokens[:, :1], tokens[:, 1 + self.num_registers :]), dim=1)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """As upstream; the tokens that enter the first layer belong to the stem."""
        if param_name in (f'{prefix}mask_token', f'{prefix}register_tokens'):
            param_name = f'{prefix}cls_token'
        return super().get_layer_depth(param_name, prefix)


def _check_patches(img_size: int | Sequence[int], patch_size: int | Sequence[int]) -> None:
    for side, patch in zip(to_2tuple(img_size), to_2tuple(patch_size)):
        if side % patch:
            below = side // patch * patch
            raise ValueError(
                f'img_size={img_size} cannot be cut into patches of patch_size={patch_size}: take '
                f'{below} or {below + patch} for {side}, and views of multiples of {patch} pixels.'
            )


def _drop_samples(layer: TransformerEncoderLayer) -> None:
    layer.attn.out_drop = SampleDropRate(layer.attn.out_drop.drop_prob)
    layer.ffn.dropout_layer = SampleDropRate(layer.ffn.dropout_layer.drop_prob)
    # VisionTransformer builds its layers itself; this one has the same members.
    layer.__class__ = SampleDropLayer
