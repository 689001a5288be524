"""SimCLR: normalized temperature-scaled cross-entropy, NT-Xent (arXiv 2002.05709, eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..utils.precision import full_precision


@full_precision
def ntxent_pair_loss(
    embedding: Tensor,
    num_targets: int,
    temperature: float,
    rank: int = 0,
    gathered: Tensor | None = None,
) -> Tensor:
    """Loss of anchor ``s`` with positive ``t``, negatives from both views of all other samples.

    With ``S`` the cosine similarity over the temperature and ``c`` over the global batch,

        L[b, t, s] = -S[s_b, t_b] + log(sum_{c != b} exp S[s_b, s_c] + sum_c exp S[s_b, t_c])

    which is the loss of sample ``b`` if the whole batch kept the pair ``(s, t)``. The diagonal
    has no meaning and is zero.

    Args:
        embedding: (B, S, D) embeddings of the samples of this process.
        num_targets: T, the first ``T`` views are targets.
        temperature: Positive.
        rank: Which block of ``gathered`` holds the samples of this process.
        gathered: (G, S, D) embeddings of the samples of all processes, ``rank`` after ``rank``;
            ``None`` if there is a single one.

    Returns:
        (B, T, S) in float32, or float64 if the input is.
    """
    embedding = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    gathered = embedding if gathered is None else gathered.to(embedding.dtype)
    anchor, every = F.normalize(embedding, dim=-1), F.normalize(gathered, dim=-1)
    num_samples, num_views = anchor.shape[:2]
    # b = samples here, g = samples everywhere, s = anchor views, v = other views, d = dim
    similarity = torch.einsum('bsd,gvd->bsvg', anchor, every) / temperature
    here = torch.arange(num_samples, device=anchor.device)
    # (B, S, V): every anchor with the other views of its own sample
    positive = similarity[here, :, :, rank * num_samples + here]
    # The similarity of an anchor with itself is no term of its loss.
    itself = torch.zeros(num_samples, every.shape[0], dtype=torch.bool, device=anchor.device)
    itself[here, rank * num_samples + here] = True
    same_view = torch.eye(num_views, dtype=torch.bool, device=anchor.device)
    itself = same_view[None, :, :, None] & itself[:, None, None, :]
    # (B, S, V): log of the sum over the samples of one view
    log_sum = similarity.masked_fill(itself, -torch.inf).logsumexp(-1)
    # (B, S): of the anchor's own view, itself left out
    own = log_sum.diagonal(dim1=1, dim2=2)
    # (B, S, T) -> (B, T, S)
    loss = torch.logaddexp(own[:, :, None], log_sum) - positive
    loss = loss[:, :, :num_targets].transpose(1, 2)
    return loss.masked_fill(same_view[:num_targets], 0)
