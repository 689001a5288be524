"""Cosine pair losses, shared by SimSiam and BYOL."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def cosine_loss_factors(head: nn.Module) -> tuple[float, float]:
    """``(shift, scale)`` of the head's ``CosineSimilarityLoss``: ``shift - scale * cos``.

    Raises:
        ValueError: If the head has another loss module, whose values would not be these.
    """
    loss = head.loss_module
    if type(loss).__name__ != 'CosineSimilarityLoss':
        raise ValueError(
            f'head.loss is {type(loss).__name__}: the cosine pair loss describes only '
            'CosineSimilarityLoss. Pass a pair_loss of your own for another loss.'
        )
    return loss.shift_factor, loss.scale_factor
