"""Cosine similarity of target and online views; the loss of SimSiam and BYOL up to scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..utils.precision import full_precision


@full_precision
def cosine_similarities(online: Tensor, target: Tensor) -> Tensor:
    """Cosine similarity of every target view with every online view of the same sample.

    Args:
        online: (B, S, D), any floating-point dtype.
        target: (B, T, D).

    Returns:
        (B, T, S) in float32, or float64 if both inputs are.
    """
    dtype = torch.promote_types(torch.promote_types(online.dtype, target.dtype), torch.float32)
    online = F.normalize(online.to(dtype), dim=-1)
    target = F.normalize(target.to(dtype), dim=-1)
    # b = batch, t = target views, s = online views, d = dim
    return torch.einsum('btd,bsd->bts', target, online)
