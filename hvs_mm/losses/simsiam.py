"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from torch import Tensor

from .cosine import cosine_similarities


def simsiam_pair_loss(prediction: Tensor, projection: Tensor) -> Tensor:
    """``L[b, t, s] = -cos(p_s, z_t)``.

    Args:
        prediction: (B, S, D) predictor outputs ``p``.
        projection: (B, T, D) projector outputs ``z``.

    Returns:
        (B, T, S) float32, from -1 to 1.
    """
    return -cosine_similarities(prediction, projection)
