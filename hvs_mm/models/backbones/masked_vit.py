"""A vision transformer whose patch tokens can be masked."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .offset_vit import OffsetVisionTransformer


def patch_size(backbone: BaseModule) -> tuple[int, int]:
    """Height and width that a view's must be multiples of; 1 for a convolutional network."""
    if not hasattr(backbone, 'patch_embed'):
        return 1, 1
    height, width = backbone.patch_embed.projection.kernel_size
    return height, width


@MODELS.register_module()
class MaskedVisionTransformer(OffsetVisionTransformer):
    """MMPretrain's ``VisionTransformer`` that takes a mask of patches.

    Masked patches are replaced by a learned token after the patch embedding and before the
    position embedding (`iBOT, arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_, section 3.1).
    All other parameters have the names of ``VisionTransformer``, which loads a trained backbone.

    Args:
        **kwargs: As for :class:`OffsetVisionTransformer`; ``out_type`` is always ``'raw'``.

    Raises:
        ValueError: As for :class:`OffsetVisionTransformer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, 'out_type': 'raw'})
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor]:
        """The tokens ((B, 1 + N, C),) of images (B, 3, H, W), the [CLS] token first.

        H and W are multiples of the patch size. The mask (B, H / patch, W / patch), bool, is true
        for masked patches.
        """
        tokens, resolution = self.patch_embed(x)
        if mask is not None:
            # (B, h, w) -> (B, N, 1)
            tokens = torch.where(mask.flatten(1)[..., None], self.mask_token.to(tokens), tokens)
        return (self._encode(tokens, resolution),)
