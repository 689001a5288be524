"""Upstream's changes of color, drawn in the loader and left to the device of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mmcv.transforms
import numpy as np
from mmpretrain.datasets import transforms as mmpretrain_transforms

from ...utils.photometry_operations import Operation
from . import recorded_geometry as geometry
from .recorded_colors import RECORDED
from .recording import Recorded

#: Key under which what is to be done to a view travels through its pipeline.
OPERATIONS_KEY = 'view_operations'
#: What may stand around transforms.
_WRAPPERS = (
    mmcv.transforms.Compose,
    mmcv.transforms.RandomApply,
    mmcv.transforms.RandomChoice,
)


class _Deferred(Recorded):
    """Mixed into a recorded transform: draws its random numbers and leaves the image alone."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results[OPERATIONS_KEY].extend(self.operations())
        self.note(results[self.key], results['img'], results)
        return results

    def operations(self) -> list[Operation]:
        """Draw what is to be done, first to last."""
        raise NotImplementedError


class _DeferredColorJitter(_Deferred, RECORDED[mmpretrain_transforms.ColorJitter]):
    def operations(self) -> list[Operation]:
        order, *values = self._rand_params()
        names = ('brightness', 'contrast', 'saturation', 'hue')
        return [(names[i], values[i]) for i in order if values[i] is not None]


class _DeferredGrayscale(_Deferred, RECORDED[mmcv.transforms.RandomGrayscale]):
    def operations(self) -> list[Operation]:
        if self._random_prob() >= self.prob:
            return []
        return [('grayscale', *np.array(self.channel_weights) / sum(self.channel_weights))]


class _DeferredBlur(_Deferred, RECORDED[mmpretrain_transforms.GaussianBlur]):
    def operations(self) -> list[Operation]:
        if self.random_disable():
            return []
        return [('blur', self.random_magnitude() if self.radius is None else self.radius)]


class _DeferredSolarize(_Deferred, RECORDED[mmpretrain_transforms.Solarize]):
    def operations(self) -> list[Operation]:
        if self.random_disable():
            return []
        return [('solarize', self.random_magnitude() if self.thr is None else self.thr)]


#: Upstream's changes of color that the device can carry out.
DEFERRED: dict[type, type] = {
    mmpretrain_transforms.ColorJitter: _DeferredColorJitter,
    mmcv.transforms.RandomGrayscale: _DeferredGrayscale,
    mmpretrain_transforms.GaussianBlur: _DeferredBlur,
    mmpretrain_transforms.Solarize: _DeferredSolarize,
}


def check_deferred(pipeline: Any) -> None:
    """Check that a pipeline gives the same views if the device changes the colors last.

    Args:
        pipeline: A built one, in which the classes of :data:`DEFERRED` replace upstream's.

    Raises:
        ValueError: If it has a transform that the device does not know, or one whose result
            depends on the colors behind a change of them.
    """
    changed_by = None
    for transform in _leaves(pipeline):
        name = type(getattr(transform, 't', transform)).__name__
        kind = _upstream_type(transform)
        if isinstance(transform, _Deferred):
            changed_by = kind.__name__
        elif kind is None:
            raise ValueError(
                f"photometry='device' in CandidateViews: the device cannot do {name}. It does "
                f'{sorted(cls.__name__ for cls in DEFERRED)}, also inside '
                f'{[cls.__name__ for cls in _WRAPPERS[1:]]}; the loader crops, resizes and flips '
                f'with {geometry.supported_transforms()}. Leave {name} out, or set '
                "photometry='loader'."
            )
        elif changed_by is not None and kind is not mmcv.transforms.RandomFlip:
            raise ValueError(
                f"photometry='device' in CandidateViews: {kind.__name__} stands behind "
                f'{changed_by}, but the loader crops and resizes before the device changes '
                f"colors. Put {kind.__name__} in front, or set photometry='loader'."
            )
        if kind is mmcv.transforms.RandomGrayscale:
            _check_grayscale(transform)


def _leaves(transform: Any) -> Iterator[Any]:
    if type(transform) not in _WRAPPERS:
        yield transform
        return
    inner = transform.transforms
    for one in inner if isinstance(inner, list) else [inner]:
        yield from _leaves(one)


def _upstream_type(transform: Any) -> type | None:
    """The class of upstream that a transform stands for, if it is known."""
    for known in (geometry.RECORDED, geometry.RECORDED_FAST, DEFERRED):
        for cls, replaced in known.items():
            if type(transform) is replaced:
                return cls
    return None


def _check_grayscale(transform: Any) -> None:
    if not transform.keep_channels or len(transform.channel_weights) != 3:
        raise ValueError(
            f"photometry='device' in CandidateViews: RandomGrayscale with keep_channels="
            f'{transform.keep_channels} and {len(transform.channel_weights)} channel_weights: '
            'views keep their 3 channels, set keep_channels=True and give 3 weights.'
        )
    if transform.color_format == 'hsv':
        raise ValueError(
            "photometry='device' in CandidateViews: RandomGrayscale with color_format='hsv' "
            "converts every image; take 'bgr', or set photometry='loader'."
        )
