"""Where a view lies in the original image, followed through a pipeline."""

from __future__ import annotations

from typing import Any

import mmcv.transforms
import numpy as np
from mmpretrain.datasets import transforms as mmpretrain_transforms

from . import fast_transforms as fast
from .recording import Recorded

#: Key under which a view's geometry travels through its pipeline.
GEOMETRY_KEY = 'view_geometry'


class ViewGeometry:
    """The part of the original image that a view shows.

    Args:
        height: Height of the original image in pixels.
        width: Its width.

    Attributes:
        box: ``[x1, y1, x2, y2]`` in pixels of the original image, upper bounds exclusive, so that
            the area is ``(x2 - x1) * (y2 - y1)``.
        flipped: Whether the view is mirrored (horizontally, vertically).
        size: (height, width) of the view now, in its own pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.box = [0.0, 0.0, float(width), float(height)]
        self.flipped = [False, False]
        self.size = (height, width)

    def crop(self, top: float, left: float, height: int, width: int) -> None:
        """Cut a window out of the view.

        Args:
            top: Upper edge in pixels of the view now; negative for a padded border.
            left: Left edge.
            height: Height in pixels of the view now.
            width: Its width.
        """
        # axis 0 is x, axis 1 is y
        for axis, (low, extent, whole) in enumerate(
            ((left, width, self.size[1]), (top, height, self.size[0]))
        ):
            start, stop = self.box[axis], self.box[axis + 2]
            if self.flipped[axis]:
                start, stop = stop, start
            step = (stop - start) / whole
            edges = (start + step * low, start + step * (low + extent))
            self.box[axis], self.box[axis + 2] = min(edges), max(edges)
        self.size = (height, width)

    def flip(self, direction: str) -> None:
        """Mirror the view: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both)."""
        self.flipped[0] ^= direction in ('horizontal', 'diagonal')
        self.flipped[1] ^= direction in ('vertical', 'diagonal')

    def resize(self, height: int, width: int) -> None:
        """Change the size in pixels, not the part of the original that is shown."""
        self.size = (height, width)


class _MovedPixels(Recorded):
    """Mixed into a transform that moves pixels: tells the view's geometry what it did."""

    key = GEOMETRY_KEY

    def note(self, geometry: ViewGeometry, before: Any, results: dict[str, Any]) -> None:
        self.record(geometry, image_size(before), results)

    def record(
        self, geometry: ViewGeometry, size: tuple[int, int], results: dict[str, Any]
    ) -> None:
        """Update ``geometry``, given the size before the transform and its results."""
        raise NotImplementedError


class _RecordedRandomCrop(_MovedPixels):
    """Crops whose window comes from ``rand_crop_params``."""

    def rand_crop_params(self, img: Any) -> tuple[int, int, int, int]:
        # What is cropped may be larger than the view was: RandomCrop pads first.
        self._padded_size = img.shape[:2]
        self._window = super().rand_crop_params(img)
        return self._window

    def record(
        self, geometry: ViewGeometry, size: tuple[int, int], results: dict[str, Any]
    ) -> None:
        top, left, height, width = self._window
        top_border, left_border = self._border(size)
        geometry.crop(top - top_border, left - left_border, height, width)
        geometry.resize(*results['img'].shape[:2])

    def _border(self, size: tuple[int, int]) -> tuple[int, int]:
        return 0, 0


class _RecordedRandomResizedCrop(_RecordedRandomCrop, mmpretrain_transforms.RandomResizedCrop):
    pass


class _RecordedEfficientNetRandomCrop(
    _RecordedRandomCrop, mmpretrain_transforms.EfficientNetRandomCrop
):
    pass


class _RecordedPaddedRandomCrop(_RecordedRandomCrop, mmpretrain_transforms.RandomCrop):
    def _border(self, size: tuple[int, int]) -> tuple[int, int]:
        # ``padding`` is one number, (left/right, top/bottom) or (left, top, right, bottom);
        # ``pad_if_needed`` then adds the same on both sides.
        padding = self.padding or 0
        left, top = (padding, padding) if isinstance(padding, int) else padding[:2]
        right, bottom = (left, top) if isinstance(padding, int) else padding[-2:]
        left += (self._padded_size[1] - size[1] - left - right) // 2
        top += (self._padded_size[0] - size[0] - top - bottom) // 2
        return top, left


class _RecordedCenterCrop(_MovedPixels, mmcv.transforms.CenterCrop):
    def record(
        self, geometry: ViewGeometry, size: tuple[int, int], results: dict[str, Any]
    ) -> None:
        height, width = results['img'].shape[:2]
        # Rounded as upstream does; a border of auto_pad lies below and to the right.
        top, left = (max(0, round((size[0] - height) / 2)), max(0, round((size[1] - width) / 2)))
        geometry.crop(top, left, height, width)


class _RecordedFlip(_MovedPixels, mmcv.transforms.RandomFlip):
    def record(
        self, geometry: ViewGeometry, size: tuple[int, int], results: dict[str, Any]
    ) -> None:
        if results['flip']:
            geometry.flip(results['flip_direction'])


class _RecordedResize(_MovedPixels, mmcv.transforms.Resize):
    def record(
        self, geometry: ViewGeometry, size: tuple[int, int], results: dict[str, Any]
    ) -> None:
        geometry.resize(*results['img'].shape[:2])


class _RecordedResizeEdge(_MovedPixels, mmpretrain_transforms.ResizeEdge):
    record = _RecordedResize.record


#: Upstream's transforms that move pixels in a way that can be followed.
RECORDED: dict[type, type] = {
    mmpretrain_transforms.RandomResizedCrop: _RecordedRandomResizedCrop,
    mmpretrain_transforms.EfficientNetRandomCrop: _RecordedEfficientNetRandomCrop,
    mmpretrain_transforms.RandomCrop: _RecordedPaddedRandomCrop,
    mmpretrain_transforms.ResizeEdge: _RecordedResizeEdge,
    mmcv.transforms.CenterCrop: _RecordedCenterCrop,
    mmcv.transforms.RandomFlip: _RecordedFlip,
    mmcv.transforms.Resize: _RecordedResize,
}


class _RecordedFastRandomResizedCrop(_RecordedRandomResizedCrop, fast.FastRandomResizedCrop):
    pass


class _RecordedFastFlip(_RecordedFlip, fast.FastRandomFlip):
    pass


#: The same, those that take less time in place of the others.
RECORDED_FAST: dict[type, type] = {
    **RECORDED,
    mmpretrain_transforms.RandomResizedCrop: _RecordedFastRandomResizedCrop,
    mmcv.transforms.RandomFlip: _RecordedFastFlip,
}


def supported_transforms() -> list[str]:
    """Names of the transforms that move pixels and can be followed."""
    return sorted(cls.__name__ for cls in RECORDED)


def image_size(image: Any) -> tuple[int, int]:
    """(height, width) of an ndarray (H, W[, C]), a PIL image or a tensor (C, H, W)."""
    if isinstance(image, np.ndarray):
        return image.shape[:2]
    if hasattr(image, 'size') and not callable(image.size):
        return image.size[::-1]
    return tuple(image.shape[-2:])
