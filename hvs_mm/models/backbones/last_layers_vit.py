"""Frozen features of a vision transformer for linear evaluation."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LastLayersVisionTransformer(VisionTransformer):
    """MMPretrain's ``VisionTransformer``, frozen, with the [CLS] tokens of its last layers.

    Each token passes the transformer's final norm, then they are concatenated, the earliest layer
    first. Source: DINO (`arXiv 2104.14294 <https://arxiv.org/abs/2104.14294>`_, appendix F.2),
    which evaluates ViT-S with 4 layers.

    Frozen means that it always stays in evaluation mode, so without dropout and stochastic depth,
    and that no parameter takes a gradient. Parameters have the names of ``VisionTransformer``.

    Args:
        last_layers: How many layers, n.
        **kwargs: As for ``VisionTransformer``; ``out_type`` is always ``'cls_token'`` and
            ``out_indices`` follows from ``last_layers``.

    Raises:
        ValueError: If there are fewer layers, or ``final_norm`` is off.
    """

    def __init__(self, last_layers: int = 4, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, 'out_type': 'cls_token', 'out_indices': -1})
        if not 1 <= last_layers <= self.num_layers:
            raise ValueError(
                f'last_layers={last_layers} must be from 1 to {self.num_layers}, the number of '
                'layers of this transformer.'
            )
        if not self.final_norm:
            raise ValueError('final_norm=False: the tokens of all layers pass the final norm.')
        self.out_indices = list(range(self.num_layers - last_layers, self.num_layers))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> LastLayersVisionTransformer:
        """Stay in evaluation mode, whatever the mode of the model around it."""
        # Upstream's returns nothing.
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features ((B, n * C),) of images (B, 3, H, W); H and W are multiples of the patch."""
        *earlier, last = super().forward(x)
        # Upstream has normalized the last layer, and only that.
        return (torch.cat([*(self.ln1(token) for token in earlier), last], dim=1),)
