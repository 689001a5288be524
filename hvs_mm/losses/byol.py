"""BYOL: normalized squared distance to the target network (arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

from torch import Tensor

from .cosine import cosine_similarities


def byol_pair_loss(prediction: Tensor, target_projection: Tensor) -> Tensor:
    """``L[b, t, s] = 2 - 2 cos(p_s, z'_t)``.

    Args:
        prediction: (B, S, D) predictor outputs ``p`` of the online network.
        target_projection: (B, T, D) projector outputs ``z'`` of the target network.

    Returns:
        (B, T, S) float32, from 0 to 4.
    """
    return 2 - 2 * cosine_similarities(prediction, target_projection)
