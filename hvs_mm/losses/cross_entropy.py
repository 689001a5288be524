"""Cross-entropy of soft targets; the loss of DINO and SwAV."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_cross_entropies(target: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of every target view with every online view of the same sample.

    The targets sum to one, so it is the log-partition of the logits minus the inner product of
    targets and logits: one matrix product and one logsumexp for all pairs, and no log-softmax per
    pair.

    Args:
        target: (B, T, K) probabilities.
        logits: (B, S, K) logits, divided by their temperature.

    Returns:
        (B, T, S)
    """
    # b = batch, t = target views, s = online views, k = prototypes
    return logits.logsumexp(-1)[:, None, :] - torch.einsum('btk,bsk->bts', target, logits)
