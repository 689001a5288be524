"""Transforms of upstream that compute the same in less time.

Each draws the random numbers of the class it derives from, in the same order, and hands over to it
whatever it does not cover: other images than (H, W, 3) uint8, other backends and settings.
"""

from __future__ import annotations

from typing import Any

import mmcv.transforms
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets import transforms as mmpretrain_transforms

from .blur import gaussian_blur
from .colors import adjust_brightness, adjust_contrast, adjust_saturation, solarize, to_grayscale
from .hue import adjust_hue
from .resizing import INTERPOLATIONS, flip, resize


def is_color_image(image: Any) -> bool:
    """Whether this is an ndarray (H, W, 3) uint8."""
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
    )


class FastRandomResizedCrop(mmpretrain_transforms.RandomResizedCrop):
    """Fast with ``backend='pillow'`` and bilinear or bicubic interpolation."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if (
            self.backend != 'pillow'
            or self.interpolation not in INTERPOLATIONS
            or not is_color_image(image)
        ):
            return super().transform(results)
        top, left, height, width = self.rand_crop_params(image)
        window = image[top : top + height, left : left + width]
        results['img'] = resize(window, self.scale, self.interpolation)
        results['img_shape'] = results['img'].shape
        return results


class FastRandomFlip(mmcv.transforms.RandomFlip):
    """Fast if there is nothing but an image to flip, and one direction to flip it."""

    @cache_randomness
    def _choose_direction(self) -> str | None:
        if not isinstance(self.direction, str) or not isinstance(self.prob, float):
            return super()._choose_direction()
        # What numpy.random.choice() does with upstream's arguments, without its checks.
        threshold = self.prob / (self.prob + (1.0 - self.prob))
        return self.direction if np.random.random_sample() < threshold else None  # noqa: NPY002

    def _flip(self, results: dict[str, Any]) -> None:
        others = ('gt_bboxes', 'gt_keypoints', 'gt_seg_map')
        if not is_color_image(results['img']) or any(
            results.get(key) is not None for key in others
        ):
            super()._flip(results)
        else:
            results['img'] = flip(results['img'], results['flip_direction'])


class FastColorJitter(mmpretrain_transforms.ColorJitter):
    """Fast with ``backend='pillow'``."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if self.backend != 'pillow' or not is_color_image(image):
            return super().transform(results)
        order, *factors = self._rand_params()
        adjust = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
        for index in order:
            if factors[index] is not None:
                image = adjust[index](image, factors[index])
        results['img'] = image
        return results


class FastRandomGrayscale(mmcv.transforms.RandomGrayscale):
    """Fast with ``keep_channels=True`` and any ``color_format`` but ``'hsv'``."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if (
            not self.keep_channels
            or self.color_format == 'hsv'
            or len(self.channel_weights) != 3
            or not is_color_image(image)
        ):
            return super().transform(results)
        if self._random_prob() < self.prob:
            results['img'] = to_grayscale(image, self.channel_weights)
        return results


class FastGaussianBlur(mmpretrain_transforms.GaussianBlur):
    """Fast with a radius from a range.

    With a fixed one, whose weights may be simple fractions, rounding would differ at many pixels.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if self.radius is not None or not is_color_image(image):
            return super().transform(results)
        if self.random_disable():
            return results
        results['img'] = gaussian_blur(image, self.random_magnitude())
        return results


class FastSolarize(mmpretrain_transforms.Solarize):
    """Fast for all settings."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results['img']
        if not is_color_image(image):
            return super().transform(results)
        if self.random_disable():
            return results
        results['img'] = solarize(image, self.random_magnitude() if self.thr is None else self.thr)
        return results
