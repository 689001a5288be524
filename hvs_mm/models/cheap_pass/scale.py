"""Views at a smaller scale."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def smaller_size(size: Sequence[int], scale: float, patch: Sequence[int]) -> tuple[int, int]:
    """Height and width at a scale, rounded to whole patches, at least one.

    Args:
        size: (height, width) in pixels.
        scale: Of both sides.
        patch: (height, width) of what the sides must be multiples of, in pixels.
    """
    height, width = (max(1, round(side * scale / unit)) * unit for side, unit in zip(size, patch))
    return height, width


def smaller_views(views: Sequence[Tensor], scale: float, patch: Sequence[int]) -> list[Tensor]:
    """Downsample views by averaging.

    Args:
        views: S tensors (B, 3, H, W).
        scale: Of both sides, below 1.
        patch: See :func:`smaller_size`.

    Returns:
        S tensors (B, 3, h, w).
    """
    # Averaged over the pixels that fall together: without aliases, and cheap on any device.
    return [
        F.interpolate(view, size=smaller_size(view.shape[2:], scale, patch), mode='area')
        for view in views
    ]
