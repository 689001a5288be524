"""Views at a smaller scale."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from ..checks import ViewsError


def smaller_size(size: Sequence[int], scale: float, patch: Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels at a scale, rounded to whole patches (h, w), at least one."""
    height, width = (max(1, round(side * scale / unit)) * unit for side, unit in zip(size, patch))
    return height, width


def smaller_views(views: Sequence[Tensor], scale: float, patch: Sequence[int]) -> list[Tensor]:
    """Downsample S views (B, 3, H, W) by averaging, to sizes of :func:`smaller_size`.

    Raises:
        ViewsError: If views of different sizes would become one size.
    """
    before = {tuple(view.shape[2:]) for view in views}
    sizes = {size: smaller_size(size, scale, patch) for size in before}
    if len(set(sizes.values())) < len(sizes):
        raise ViewsError(
            f'selection_pass.scale={scale} makes views of {sorted(before)} pixels one size, '
            f'{sorted(set(sizes.values()))}: global and local views must differ. Take a larger one.'
        )
    # The mean of the pixels that fall together: no aliases, and cheap on any device.
    return [F.interpolate(view, size=sizes[tuple(view.shape[2:])], mode='area') for view in views]
