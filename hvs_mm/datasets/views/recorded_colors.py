"""How the colors of a view were changed, followed through a pipeline."""

from __future__ import annotations

from math import hypot
from typing import Any

import mmcv.transforms
from mmpretrain.datasets import transforms as mmpretrain_transforms

from ...selection.statistics.color import ViewColors
from . import fast_transforms as fast
from .recording import Recorded

#: Key under which the record of a view's colors travels through its pipeline.
COLORS_KEY = 'view_color_changes'


class _RecordedColorJitter(Recorded, mmpretrain_transforms.ColorJitter):
    key = COLORS_KEY

    def _rand_params(self) -> tuple:
        self._drawn = super()._rand_params()
        return self._drawn

    def note(self, record: ViewColors, before: Any, results: dict[str, Any]) -> None:
        _, brightness, contrast, saturation, hue = self._drawn
        # What is not jittered has no value.
        record.brightness *= 1 if brightness is None else brightness
        record.contrast *= 1 if contrast is None else contrast
        record.saturation *= 1 if saturation is None else saturation
        record.hue += hue or 0


class _RecordedGrayscale(Recorded, mmcv.transforms.RandomGrayscale):
    key = COLORS_KEY

    def _random_prob(self) -> float:
        self._drawn = super()._random_prob()
        return self._drawn

    def note(self, record: ViewColors, before: Any, results: dict[str, Any]) -> None:
        if self._drawn < self.prob:
            record.grayscale = 1.0


class _Magnitude(Recorded):
    """Upstream's transforms that are applied at random, with a strength that may be random."""

    key = COLORS_KEY

    def random_disable(self) -> bool:
        self._is_disabled = super().random_disable()
        return self._is_disabled

    def random_magnitude(self) -> float:
        self._magnitude = super().random_magnitude()
        return self._magnitude


class _RecordedBlur(_Magnitude, mmpretrain_transforms.GaussianBlur):
    def note(self, record: ViewColors, before: Any, results: dict[str, Any]) -> None:
        if not self._is_disabled:
            # The variances of two blurs add up.
            sigma = self._magnitude if self.radius is None else self.radius
            record.blur = hypot(record.blur, sigma)


class _RecordedSolarize(_Magnitude, mmpretrain_transforms.Solarize):
    def note(self, record: ViewColors, before: Any, results: dict[str, Any]) -> None:
        if not self._is_disabled:
            record.solarize = 1.0


#: Upstream's transforms that change colors in a way that can be followed.
RECORDED: dict[type, type] = {
    mmpretrain_transforms.ColorJitter: _RecordedColorJitter,
    mmcv.transforms.RandomGrayscale: _RecordedGrayscale,
    mmpretrain_transforms.GaussianBlur: _RecordedBlur,
    mmpretrain_transforms.Solarize: _RecordedSolarize,
}


class _RecordedFastColorJitter(_RecordedColorJitter, fast.FastColorJitter):
    pass


class _RecordedFastGrayscale(_RecordedGrayscale, fast.FastRandomGrayscale):
    pass


class _RecordedFastBlur(_RecordedBlur, fast.FastGaussianBlur):
    pass


class _RecordedFastSolarize(_RecordedSolarize, fast.FastSolarize):
    pass


#: The same in less time.
RECORDED_FAST: dict[type, type] = {
    mmpretrain_transforms.ColorJitter: _RecordedFastColorJitter,
    mmcv.transforms.RandomGrayscale: _RecordedFastGrayscale,
    mmpretrain_transforms.GaussianBlur: _RecordedFastBlur,
    mmpretrain_transforms.Solarize: _RecordedFastSolarize,
}
