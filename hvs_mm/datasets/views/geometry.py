"""Transforms that move pixels: crop, flip, resize."""

from __future__ import annotations

from typing import Any

import mmcv.transforms
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets import transforms as mmpretrain_transforms

from ...utils.crop_record import FILTERS
from ...utils.view_geometry import ViewGeometry
from .pixels.channels import resize_channels
from .pixels.resizing import INTERPOLATIONS, flip, resize
from .view_transform import (
    Results,
    ViewTransform,
    image_size,
    is_channel_image,
    is_color_image,
)

#: Key of the record of a view's geometry, :class:`ViewGeometry`, in the results of a pipeline.
GEOMETRY_KEY = 'view_geometry'
#: Key of the filter that the device resizes a view with, a position in :data:`FILTERS`.
FILTER_KEY = 'view_filter'


class GeometryTransform(ViewTransform):
    """Mixed into an upstream transform that moves pixels."""

    def transform(self, results: Results) -> Results:
        size = image_size(results['img'])
        results = self.apply(results)
        if GEOMETRY_KEY in results:
            self.record(results[GEOMETRY_KEY], size, results)
        return results

    def apply(self, results: Results) -> Results:
        """Draw random numbers and change the image."""
        return super().transform(results)

    def record(self, geometry: ViewGeometry, size: tuple[int, int], results: Results) -> None:
        """Update the geometry, given the size before the transform and its results."""
        geometry.size = results['img'].shape[:2]


class Resize(GeometryTransform, mmcv.transforms.Resize):
    """Always upstream's code."""


class ResizeEdge(GeometryTransform, mmpretrain_transforms.ResizeEdge):
    """Always upstream's code."""


class _RandomWindow(GeometryTransform):
    """Crops whose window comes from ``rand_crop_params``."""

    def rand_crop_params(self, img: Any) -> tuple[int, int, int, int]:
        # RandomCrop pads first: the image to crop may be larger than the view was.
        self._padded_size = img.shape[:2]
        self._window = super().rand_crop_params(img)
        return self._window

    def record(self, geometry: ViewGeometry, size: tuple[int, int], results: Results) -> None:
        top, left, height, width = self._window
        top_border, left_border = self._border(size)
        geometry.crop(top - top_border, left - left_border, height, width)
        geometry.size = results['img'].shape[:2]

    def _border(self, size: tuple[int, int]) -> tuple[int, int]:
        return 0, 0


class RandomResizedCrop(_RandomWindow, mmpretrain_transforms.RandomResizedCrop):
    """Fast with ``backend='pillow'`` and bilinear or bicubic interpolation."""

    @property
    def filter(self) -> tuple[str, str]:
        """Backend and interpolation."""
        return self.backend, self.interpolation

    def apply(self, results: Results) -> Results:
        image = results['img']
        if self.cut_on_device:
            self.rand_crop_params(image)
            results[FILTER_KEY] = FILTERS.index(self.filter)
            # Has the size of the view, and no pixels.
            results['img'] = np.broadcast_to(np.uint8(0), (*self.scale, image.shape[2]))
            results['img_shape'] = results['img'].shape
            return results
        # Upstream has nothing for these: Pillow takes 8 bits, OpenCV has no antialiasing.
        is_other = is_channel_image(image)
        if (
            self.backend != 'pillow'
            or self.interpolation not in INTERPOLATIONS
            or not (is_other or (is_color_image(image) and not self.exact))
        ):
            return super().apply(results)
        top, left, height, width = self.rand_crop_params(image)
        window = image[top : top + height, left : left + width]
        change_size = resize_channels if is_other else resize
        results['img'] = change_size(window, self.scale, self.interpolation)
        results['img_shape'] = results['img'].shape
        return results


class EfficientNetRandomCrop(_RandomWindow, mmpretrain_transforms.EfficientNetRandomCrop):
    """Always upstream's code."""


class RandomCrop(_RandomWindow, mmpretrain_transforms.RandomCrop):
    """Always upstream's code."""

    def _border(self, size: tuple[int, int]) -> tuple[int, int]:
        # ``padding`` is one number, (left/right, top/bottom) or (left, top, right, bottom);
        # ``pad_if_needed`` then adds the same on both sides.
        padding = self.padding or 0
        left, top = (padding, padding) if isinstance(padding, int) else padding[:2]
        right, bottom = (left, top) if isinstance(padding, int) else padding[-2:]
        left += (self._padded_size[1] - size[1] - left - right) // 2
        top += (self._padded_size[0] - size[0] - top - bottom) // 2
        return top, left


class CenterCrop(GeometryTransform, mmcv.transforms.CenterCrop):
    """Always upstream's code."""

    def record(self, geometry: ViewGeometry, size: tuple[int, int], results: Results) -> None:
        height, width = results['img'].shape[:2]
        # Rounded as upstream does; a border of auto_pad lies below and to the right.
        top, left = (max(0, round((size[0] - height) / 2)), max(0, round((size[1] - width) / 2)))
        geometry.crop(top, left, height, width)


class RandomFlip(GeometryTransform, mmcv.transforms.RandomFlip):
    """Fast if there is nothing but an image to flip, and one direction to flip it."""

    @cache_randomness
    def _choose_direction(self) -> str | None:
        if self.exact or not isinstance(self.direction, str) or not isinstance(self.prob, float):
            return super()._choose_direction()
        # numpy.random.choice() with upstream's arguments, without its checks.
        threshold = self.prob / (self.prob + (1.0 - self.prob))
        return self.direction if np.random.random_sample() < threshold else None  # noqa: NPY002

    def _flip(self, results: Results) -> None:
        if self.cut_on_device:
            return
        others = ('gt_bboxes', 'gt_keypoints', 'gt_seg_map')
        if (
            self.exact
            or not is_color_image(results['img'])
            or any(results.get(key) is not None for key in others)
        ):
            super()._flip(results)
        else:
            results['img'] = flip(results['img'], results['flip_direction'])

    def record(self, geometry: ViewGeometry, size: tuple[int, int], results: Results) -> None:
        if results['flip']:
            geometry.flip(results['flip_direction'])


#: Transforms that move pixels and are recorded.
GEOMETRY_TRANSFORMS = (
    CenterCrop,
    EfficientNetRandomCrop,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeEdge,
)
