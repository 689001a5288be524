"""KoLeo: spread the features of a batch (arXiv 1806.03198, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..utils.precision import full_precision


@full_precision
def koleo_loss(features: Tensor, eps: float = 1e-8) -> Tensor:
    """Negative logarithm of the distance to the nearest other sample, after normalization.

    Args:
        features: (B, C), one view of each of B samples, any floating-point dtype.
        eps: Added to norms and distances.

    Returns:
        (B,) in float32, or float64 if the features are.

    Raises:
        ValueError: If there is a single sample.

    Examples:
        >>> regularizer = 0.1 * koleo_loss(torch.randn(64, 384)).mean()
    """
    if len(features) < 2:
        raise ValueError(
            f'KoLeo compares each image of a batch with its nearest other one, but there is '
            f'{len(features)} in this process: raise train_dataloader.batch_size, set '
            'train_dataloader.drop_last=True if this is the rest of an epoch, or set '
            'koleo_weight=0 of the head.'
        )
    dtype = torch.promote_types(features.dtype, torch.float32)
    features = F.normalize(features.to(dtype), dim=-1, eps=eps)
    with torch.no_grad():
        # Below any cosine: no sample is its own neighbor.
        nearest = (features @ features.mT).fill_diagonal_(-2).argmax(1)
    return -(F.pairwise_distance(features, features[nearest], eps=eps) + eps).log()
