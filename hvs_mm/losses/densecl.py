"""DenseCL: contrast of matched positions of two views (arXiv 2011.09157, eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..utils.precision import full_precision
from .moco import queue_log_sums


@full_precision
def dense_pair_loss(
    query: Tensor,
    key: Tensor,
    query_features: Tensor,
    key_features: Tensor,
    queue: Tensor,
    temperature: float,
) -> Tensor:
    """Mean over the positions of query ``s`` of the loss with the best match in key ``t``.

    A position is matched to the one of the other view whose backbone features are most similar. Its
    loss is that of MoCo, with the dense projections of the two as query and positive key.

    Args:
        query: (B, S, P, D) dense projections of the online network, at P positions.
        key: (B, T, P, D) those of the momentum network.
        query_features: (B, S, P, C) backbone features at these positions.
        key_features: (B, T, P, C) those of the momentum network.
        queue: (D, K) normalized dense keys of earlier steps.
        temperature: Positive.

    Returns:
        (B, T, S) in float32, or float64 if the inputs are.
    """
    dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), torch.float32)

    def similarities(online: Tensor, target: Tensor) -> Tensor:
        online, target = (F.normalize(one.to(dtype), dim=-1) for one in (online, target))
        # b = batch, t = key views, s = query views, p, q = positions, d = dim
        return torch.einsum('bspd,btqd->btspq', online, target)

    match = similarities(query_features, key_features).argmax(-1, keepdim=True)
    # (B, T, S, P, P) at the matches -> (B, T, S, P)
    positive = similarities(query, key).gather(-1, match).squeeze(-1) / temperature
    # (B, S, P, D) -> (B, S * P, D) -> (B, S * P) -> (B, S, P)
    negatives = queue_log_sums(query.flatten(1, 2), queue, temperature)
    negatives = negatives.unflatten(1, query.shape[1:3])
    return (torch.logaddexp(positive, negatives[:, None]) - positive).mean(-1)
