"""VICReg: the loss of a batch, and the influence of a sample on it (arXiv 2105.04906, eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils.precision import full_precision

#: Added to the variances, as in the code published with the paper.
EPS = 1e-4


@full_precision
def vicreg_loss(
    first: Tensor,
    second: Tensor,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Tensor:
    """Loss of a batch, with the means over dimensions of the published code.

    Args:
        first, second: (B, D) embeddings of two views, any floating-point dtype.
        invariance, variance, covariance: Weights of the three terms.

    Returns:
        A number in float32, or float64 if the input is.
    """
    pair = [z.to(torch.promote_types(z.dtype, torch.float32)) for z in (first, second)]
    loss = invariance * (pair[0] - pair[1]).square().mean()
    for z in pair:
        centered = z - z.mean(0)
        # A single sample has no variance.
        products = centered.T @ centered / max(len(z) - 1, 1)
        variances = products.diagonal()
        loss = loss + variance / 2 * (1 - (variances + EPS).sqrt()).relu().mean()
        off_diagonal = products.square().sum() - variances.square().sum()
        loss = loss + covariance * off_diagonal / len(products)
    return loss


@full_precision
def vicreg_pair_loss(
    embedding: Tensor,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    rank: int = 0,
    gathered: Tensor | None = None,
    eps: float = EPS,
) -> Tensor:
    """Loss of the batch plus the influence of sample ``b`` on it, for the pair of views ``(s, t)``.

    The invariance is a mean over samples. Variance and covariance belong to the batch; a sample's
    part in them is the loss of the batch plus the derivative with respect to the weight of the
    sample, as in :func:`barlow_twins_pair_loss`. With ``c`` the centered embeddings of a view,
    ``C = sum c c' / (B - 1)`` and ``k = B / (B - 1)``:

        L[b, t, s] = invariance mean_d (z_t - z_s)^2 + p_t + p_s
        p = variance / 2 mean_d (h - 1[h > 0] (k c^2 - C_dd) / (2 std)),  h = max(0, 1 - std)
            + covariance / D sum_{i != j} C_ij (2 k c_i c_j - C_ij)

    The mean over the batch is the loss of the batch, if all of it kept the pair. The sums over
    ``i, j`` come from Gram matrices of the samples, so no matrix of D by D is formed.

    Args:
        embedding: (B, S, D) embeddings of the samples of this process.
        invariance, variance, covariance: Weights of the three terms.
        rank: Which block of ``gathered`` holds the samples of this process.
        gathered: (G, S, D) embeddings of the samples of all processes, rank after rank; ``None``
            if there is a single one.
        eps: Added to the variances.

    Returns:
        (B, S, S) in float32, or float64 if the input is; symmetric.
    """
    z = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    every = z if gathered is None else gathered.to(z.dtype)
    count, _, dim = every.shape
    free = max(count - 1, 1)
    centered = every - every.mean(0)
    # g, n = samples everywhere, s = views, d = dim
    squares = centered.square() * (count / free)  # (G, S, D)
    variances = squares.mean(0)
    std = (variances + eps).sqrt()
    hinge = (1 - std).relu()
    slope = (hinge > 0) / (2 * std)
    spread = hinge.mean(-1) - torch.einsum('gsd,sd->gs', squares - variances, slope) / dim
    gram = torch.einsum('gsd,nsd->sgn', centered, centered)
    # k c' C c, without the diagonal of C: (G, S)
    products = gram.square().sum(-1).T * (count / free**2)
    products = products - torch.einsum('gsd,sd->gs', squares, variances)
    overlap = (2 * products - products.mean(0)) / dim
    penalty = variance / 2 * spread + covariance * overlap
    penalty = penalty[rank * len(z) : (rank + 1) * len(z)]
    # By target view, as (B, S, S, D) would not fit.
    distances = [(z - one[:, None]).square().mean(-1) for one in z.unbind(1)]
    pairs = invariance * torch.stack(distances, 1)
    return pairs + penalty[:, :, None] + penalty[:, None, :]
