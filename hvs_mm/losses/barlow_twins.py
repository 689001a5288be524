"""Barlow Twins: the influence of a sample on a loss of the batch (arXiv 2103.03230, eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils.precision import full_precision


@full_precision
def barlow_twins_pair_loss(
    embedding: Tensor, off_diagonal_weight: float, rank: int = 0, gathered: Tensor | None = None
) -> Tensor:
    """Loss of the batch plus the influence of sample ``b`` on it, for the pair of views ``(s, t)``.

    Barlow Twins has no loss of a sample: its loss is that of the cross-correlation ``C`` of two
    views over the batch,

        l(C) = sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2

    For a loss that is a mean over samples, a sample's own loss is the loss of the batch plus the
    sample's influence function: the derivative with respect to the weight of the sample in the
    batch, whose weights sum to one. That derivative exists here as well, with ``z`` the normalized
    embeddings and ``M = (dl/dC) / 2``:

        L[b, t, s] = l(C) + 2 <M, z_t z_s' - C - (v_t 1' + 1 v_s') * C / 2>,
        v = z^2 - mean of z^2 over the batch

    The last part is the influence on the standard deviations of BatchNorm. The mean over the batch
    is the loss of the batch, if all of it kept the pair. No matrix of D by D is formed: products
    with ``C`` are products of Gram matrices over the samples.

    Args:
        embedding: (B, S, D) embeddings of the samples of this process, every view of them
            normalized over the batch.
        off_diagonal_weight: ``lambda``.
        rank: Which block of ``gathered`` holds the samples of this process.
        gathered: (G, S, D) embeddings of the samples of all processes, over which ``C`` is the
            mean, ``rank`` after ``rank``; ``None`` if there is a single one. Each process
            normalizes by itself.

    Returns:
        (B, S, S) in float32, or float64 if the input is; symmetric. The diagonal has no meaning.
    """
    z = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    every = z if gathered is None else gathered.to(z.dtype)
    num_samples, num_views = z.shape[:2]
    here = slice(rank * num_samples, (rank + 1) * num_samples)
    # b = samples here, g, n = samples everywhere, t, s = views, d = dim
    gram = torch.einsum('gsd,nsd->sgn', every, every)
    # C_ii of the whole batch and of this process, (S, S, D)
    diagonal, own = (torch.einsum('btd,bsd->tsd', one, one) / len(one) for one in (every, z))
    # M = lambda C + diag(correction): (S, S, D)
    correction = (1 - off_diagonal_weight) * diagonal - 1
    # z_t' C z_s of every sample: (G, S, S)
    products = torch.einsum('tgn,sgn->gts', gram, gram) / len(every)
    square = diagonal.square().sum(-1)
    loss = (diagonal - 1).square().sum(-1)
    loss = loss + off_diagonal_weight * (products.mean(0) - square)

    # z_t' M z_s: (B, S, S), by target view, as (B, S, S, D) would not fit.
    direct = torch.stack(
        [torch.einsum('bd,sd,bsd->bs', z[:, t], correction[t], z) for t in range(num_views)], 1
    )
    direct = direct + off_diagonal_weight * products[here]
    # Row sums of M * C: (S, S, D)
    sums = [
        [
            (gram[s, here] @ every[:, t] * z[:, t]).sum(0) / (len(every) * num_samples)
            for s in range(num_views)
        ]
        for t in range(num_views)
    ]
    rows = off_diagonal_weight * torch.stack([torch.stack(row) for row in sums])
    rows = rows + correction * own
    variance = z.square() - z.square().mean(0)
    scale = torch.einsum('btd,tsd->bts', variance, rows)
    scale = (scale + scale.transpose(1, 2)) / 2
    return loss + 2 * (direct - direct.mean(0) - scale)
