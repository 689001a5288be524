"""Views at a smaller scale."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def smaller_size(size: Sequence[int], scale: float, patch: Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels at a scale, rounded to whole patches (h, w), at least one."""
    height, width = (max(1, round(side * scale / unit)) * unit for side, unit in zip(size, patch))
    return height, width


def smaller_views(views: Sequence[Tensor], scale: float, patch: Sequence[int]) -> list[Tensor]:
    """Downsample S views (B, 3, H, W) by averaging, to sizes of :func:`smaller_size`."""
    # The mean of the pixels that fall together: no aliases, and cheap on any device.
    return [
        F.interpolate(view, size=smaller_size(view.shape[2:], scale, patch), mode='area')
        for view in views
    ]
