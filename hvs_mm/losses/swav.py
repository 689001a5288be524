"""SwAV: cross-entropy of assignments to prototypes and another view's scores (arXiv 2006.09882)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils.precision import full_precision
from .cross_entropy import soft_cross_entropies


@full_precision
def swav_pair_loss(scores: Tensor, assignments: Tensor, temperature: float) -> Tensor:
    """``L[b, t, s] = H(q_t, softmax(x_s / tau))``.

    Args:
        scores: (B, S, K) products ``x`` of embeddings and prototypes, any floating-point dtype.
        assignments: (B, T, K) assignments ``q`` to prototypes, which sum to one.
        temperature: ``tau``.

    Returns:
        (B, T, S) in float32, or float64 if both inputs are.
    """
    dtype = torch.promote_types(scores.dtype, assignments.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    return soft_cross_entropies(assignments.to(dtype), scores.to(dtype) / temperature)
