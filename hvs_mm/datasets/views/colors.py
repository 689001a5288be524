"""Transforms that change the colors of a view: jitter, grayscale, blur, solarization."""

from __future__ import annotations

from math import hypot

import mmcv.transforms
import numpy as np
from mmpretrain.datasets import transforms as mmpretrain_transforms

from ...selection.statistics.color import UNCHANGED_COLORS
from ...utils.photometry_operations import Operation
from .pixels import channels
from .pixels.blur import gaussian_blur
from .pixels.color_tables import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    solarize,
    to_grayscale,
)
from .pixels.hue import adjust_hue
from .view_transform import Results, ViewTransform, is_channel_image, is_color_image

#: Key of the operations that change a view's colors, a list, in the results of a pipeline.
OPERATIONS_KEY = 'view_operations'

_FAST = {
    'brightness': adjust_brightness,
    'contrast': adjust_contrast,
    'saturation': adjust_saturation,
    'hue': adjust_hue,
    'grayscale': to_grayscale,
    'blur': gaussian_blur,
    'solarize': solarize,
}

#: What is done to images of any channels; the rest needs RGB.
_OF_CHANNELS = {
    'brightness': channels.adjust_brightness,
    'contrast': channels.adjust_contrast,
    'blur': channels.gaussian_blur,
}


class ColorTransform(ViewTransform):
    """Mixed into an upstream transform that changes colors.

    Its random numbers become a list of operations, which is applied and recorded.
    """

    #: The last result of :meth:`draw`.
    operations: list[Operation]

    def transform(self, results: Results) -> Results:
        self.operations = self.draw()
        if OPERATIONS_KEY in results:
            results[OPERATIONS_KEY].extend(self.operations)
        if self.on_device:
            return results
        image = results['img']
        if is_channel_image(image) and not (image.shape[2] == 3 and self.takes_floats()):
            results['img'] = self._change_channels(image)
            return results
        if self.exact or not self.has_fast() or not is_color_image(image):
            # Upstream asks for random numbers, and gets those that were drawn.
            return super().transform(results)
        for name, *values in self.operations:
            image = _FAST[name](image, *values)
        results['img'] = image
        return results

    def draw(self) -> list[Operation]:
        """Draw the operations for an image, first to last."""
        raise NotImplementedError

    def has_fast(self) -> bool:
        """Whether the faster operations cover the settings."""
        return True

    def takes_floats(self) -> bool:
        """Whether upstream's code takes 8-bit values in floating point, of 3 channels."""
        return False

    def _change_channels(self, image: np.ndarray) -> np.ndarray:
        for name, *values in self.operations:
            if name not in _OF_CHANNELS:
                raise ValueError(
                    f'transform {type(self).__name__} in CandidateViews changes the {name}, which '
                    f'needs 8-bit RGB images, not {image.shape} {image.dtype}: leave it out.'
                )
            image = _OF_CHANNELS[name](image, *values)
        return image


def colors_after(operations: list[Operation]) -> list[float]:
    """How operations change the colors of a view, in the order of ``COLOR_CHANGES``."""
    colors = dict(UNCHANGED_COLORS)
    for name, value, *_ in operations:
        if name == 'hue':
            colors['hue'] += value
        elif name == 'blur':
            # The variances of two blurs add up.
            colors['blur'] = hypot(colors['blur'], value)
        elif name in ('grayscale', 'solarize'):
            colors[name] = 1.0
        else:
            colors[name] *= value
    return list(colors.values())


class ColorJitter(ColorTransform, mmpretrain_transforms.ColorJitter):
    """Fast with ``backend='pillow'``."""

    def draw(self) -> list[Operation]:
        self._params = super()._rand_params()
        order, *values = self._params
        names = ('brightness', 'contrast', 'saturation', 'hue')
        return [(names[i], values[i]) for i in order if values[i] is not None]

    def _rand_params(self) -> tuple:
        return self._params

    def has_fast(self) -> bool:
        return self.backend == 'pillow'

    def takes_floats(self) -> bool:
        return self.backend != 'pillow'


class RandomGrayscale(ColorTransform, mmcv.transforms.RandomGrayscale):
    """Fast with ``keep_channels=True`` and any ``color_format`` but ``'hsv'``."""

    def draw(self) -> list[Operation]:
        self._number = super()._random_prob()
        if self._number >= self.prob:
            return []
        return [('grayscale', *np.array(self.channel_weights) / sum(self.channel_weights))]

    def _random_prob(self) -> float:
        return self._number

    def takes_floats(self) -> bool:
        return True

    def has_fast(self) -> bool:
        return self.keep_channels and self.color_format != 'hsv' and len(self.channel_weights) == 3


class _Sometimes(ColorTransform):
    """Upstream transforms applied with a probability, with a fixed or a random strength."""

    #: The operation, and the attribute with the fixed strength; None there for a random one.
    operation: str
    strength: str

    def draw(self) -> list[Operation]:
        if super().random_disable():
            return []
        fixed = getattr(self, self.strength)
        return [(self.operation, super().random_magnitude() if fixed is None else fixed)]

    def random_disable(self) -> bool:
        return not self.operations

    def random_magnitude(self) -> float:
        return self.operations[0][1]


class GaussianBlur(_Sometimes, mmpretrain_transforms.GaussianBlur):
    """Fast with a radius from a range.

    With a fixed one, whose weights may be simple fractions, rounding would differ at many pixels.
    """

    operation, strength = 'blur', 'radius'

    def has_fast(self) -> bool:
        return self.radius is None


class Solarize(_Sometimes, mmpretrain_transforms.Solarize):
    """Fast with all settings."""

    operation, strength = 'solarize', 'thr'

    def takes_floats(self) -> bool:
        return True


#: Changes of color that are recorded, and that the device can carry out.
COLOR_TRANSFORMS = (ColorJitter, GaussianBlur, RandomGrayscale, Solarize)
