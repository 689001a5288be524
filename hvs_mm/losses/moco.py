"""MoCo v2 and v3: cross-entropy of a query over keys (arXiv 2003.04297 and 2104.02057)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..utils.precision import full_precision
from .cosine import cosine_similarities


@full_precision
def mocov3_pair_loss(
    query: Tensor,
    key: Tensor,
    temperature: float,
    rank: int = 0,
    gathered: Tensor | None = None,
) -> Tensor:
    """Loss of query ``s`` with key ``t`` of its sample, against this view's keys of all samples.

    With ``S`` the cosine similarity over the temperature and ``c`` over the global batch,

        L[b, t, s] = -S[q_s[b], k_t[b]] + log(sum_c exp S[q_s[b], k_t[c]])

    which is the loss of sample ``b`` if the whole batch kept the pair ``(s, t)``.

    Args:
        query: (B, S, D) predictor outputs of the samples of this process.
        key: (B, T, D) projections of the momentum network.
        temperature: Positive.
        rank: Which block of ``gathered`` holds the samples of this process.
        gathered: (G, T, D) keys of all processes, ``rank`` after ``rank``; ``None`` if there is a
            single one.

    Returns:
        (B, T, S) in float32, or float64 if both inputs are.
    """
    dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), torch.float32)
    query = F.normalize(query.to(dtype), dim=-1)
    gathered = F.normalize((key if gathered is None else gathered).to(dtype), dim=-1)
    # b = samples here, g = samples everywhere, t = target views, s = online views, d = dim
    logits = torch.einsum('bsd,gtd->btsg', query, gathered) / temperature
    here = torch.arange(len(query), device=query.device)
    return logits.logsumexp(-1) - logits[here, :, :, rank * len(query) + here]


@full_precision
def moco_pair_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Loss of query ``s`` with key ``t`` of its sample, against the keys in the queue.

    With ``S`` the cosine similarity over the temperature and ``n`` over the queue,

        L[b, t, s] = -S[q_s, k_t] + log(exp S[q_s, k_t] + sum_n exp S[q_s, n])

    Args:
        query: (B, S, D) projections of the online network.
        key: (B, T, D) projections of the momentum network.
        queue: (D, K) normalized keys of earlier steps.
        temperature: Positive.

    Returns:
        (B, T, S) in float32, or float64 if query and key are.
    """
    positive = cosine_similarities(query, key) / temperature
    negatives = queue_log_sums(query, queue, temperature)
    return torch.logaddexp(positive, negatives[:, None, :]) - positive


@full_precision
def queue_log_sums(query: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """``log(sum_n exp S[q, n])`` (B, S) of queries (B, S, D) over a queue (D, K)."""
    query = F.normalize(query.to(torch.promote_types(query.dtype, torch.float32)), dim=-1)
    queue = queue.to(query.dtype)
    # View by view: the logits (B, K) of all would take as much memory as a large network.
    return torch.stack([(one @ queue / temperature).logsumexp(-1) for one in query.unbind(1)], 1)


def first_is_query(pair_loss: Tensor) -> Tensor:
    """Give both directions of a pair the loss with the earlier view as query, the later as key.

    Of the two kept views upstream takes the first one as query. The mean over both directions is
    then the loss of the training step. The diagonal, which has no meaning, becomes zero.

    Args:
        pair_loss: (B, S, S), key by query.
    """
    # Row t is the key, column s the query: below the diagonal the query comes first.
    lower = pair_loss.tril(-1)
    return lower + lower.transpose(1, 2)
