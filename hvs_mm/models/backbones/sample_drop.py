"""Stochastic depth that computes residuals for a random part of the batch only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor


class SampleDropRate(DropPath):
    """Holds the rate of a :class:`SampleDropLayer`, which acts on it, where a path would drop."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class SampleDropLayer(TransformerEncoderLayer):
    """A layer of MMPretrain's ``VisionTransformer`` that drops samples, not paths.

    Source: `DINOv2 <https://arxiv.org/abs/2304.07193>`_, section 5, "efficient stochastic depth".
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, C) to tokens (B, N, C)."""
        rates = self.attn.out_drop.drop_prob, self.ffn.dropout_layer.drop_prob
        if not (self.training and any(rates)):
            return super().forward(x)
        x = _add_residual(x, lambda part: self.attn(self.ln1(part)), rates[0])
        nothing = x.new_zeros(())
        return _add_residual(x, lambda part: self.ffn(self.ln2(part), identity=nothing), rates[1])


def _add_residual(x: Tensor, residual: Callable[[Tensor], Tensor], rate: float) -> Tensor:
    """Add residuals of a random share ``1 - rate`` of the samples, scaled to the same mean."""
    number = max(int(len(x) * (1 - rate)), 1)
    kept = torch.randperm(len(x), device=x.device)[:number]
    return x.index_add(0, kept, residual(x[kept]).to(x.dtype), alpha=len(x) / number)
