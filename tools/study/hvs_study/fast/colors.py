"""Draw the changes of color of many views at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import RandomApply

from hvs_mm.datasets.views.colors import ColorJitter, GaussianBlur, RandomGrayscale, Solarize
from hvs_mm.selection.statistics.color import COLOR_CHANGES, UNCHANGED_COLORS
from hvs_mm.utils.photometry_operations import OPERATIONS

from ..schema import StudyError

_CODES = {name: number for number, name in enumerate(OPERATIONS, start=1)}
_WIDTH = 4


def draw_operations(transforms: Sequence[Any], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what transforms do to ``count`` views, (count, K, 4) float32.

    The columns are those of :func:`hvs_mm.utils.photometry_operations.pack_operations`; an
    operation that is left out has the code 0. The transforms are those that ``CandidateViews`` has
    built, and have its distributions.

    Raises:
        StudyError: If a transform is no change of color.
    """
    parts = [_draw(transform, count, rng) for transform in transforms]
    empty = np.zeros((count, 0, _WIDTH), np.float32)
    return np.concatenate([empty, *parts], axis=1)


def colors_of(operations: np.ndarray) -> np.ndarray:
    """How operations (..., K, 4) change colors, (..., 7) float32 as ``view_colors``."""
    codes, values = operations[..., 0], operations[..., 1]
    columns = []
    for name in COLOR_CHANGES:
        is_done = codes == _CODES[name]
        if name == 'hue':
            columns.append(np.where(is_done, values, 0).sum(-1))
        elif name == 'blur':
            columns.append(np.sqrt(np.where(is_done, values**2, 0).sum(-1)))
        elif UNCHANGED_COLORS[name] == 1:
            columns.append(np.where(is_done, values, 1).prod(-1))
        else:
            columns.append(is_done.any(-1))
    return np.stack(columns, -1).astype(np.float32)


def _draw(transform: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    if isinstance(transform, RandomApply):
        is_applied = rng.random(count) < transform.prob
        inner = draw_operations(transform.transforms.transforms, count, rng)
        return inner * is_applied[:, None, None]
    if isinstance(transform, ColorJitter):
        return _draw_jitter(transform, count, rng)
    found = np.zeros((count, 1, _WIDTH), np.float32)
    if isinstance(transform, RandomGrayscale) and transform.has_fast():
        weights = np.array(transform.channel_weights)
        found[:, 0] = [_CODES['grayscale'], *weights / weights.sum()]
        return found * (rng.random(count) < transform.prob)[:, None, None]
    if isinstance(transform, (GaussianBlur, Solarize)):
        strength = getattr(transform, transform.strength)
        found[:, 0, 0] = _CODES[transform.operation]
        found[:, 0, 1] = _magnitudes(transform, count, rng) if strength is None else strength
        return found * (rng.random(count) <= transform.prob)[:, None, None]
    raise StudyError(
        f"engine='fast' cannot draw {type(transform).__name__} in batches: it does "
        'RandomResizedCrop, RandomFlip, ColorJitter, RandomGrayscale (three channels kept), '
        "GaussianBlur, Solarize and RandomApply around these. Use engine='runner'."
    )


def _draw_jitter(jitter: ColorJitter, count: int, rng: np.random.Generator) -> np.ndarray:
    names = ('brightness', 'contrast', 'saturation', 'hue')
    found = np.zeros((count, len(names), _WIDTH), np.float32)
    for number, name in enumerate(names):
        bounds = getattr(jitter, name)
        if bounds is not None:
            found[:, number, 0] = _CODES[name]
            found[:, number, 1] = rng.uniform(*bounds, count)
    order = rng.random((count, len(names))).argsort(1)
    return np.take_along_axis(found, order[:, :, None], axis=1)


def _magnitudes(transform: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    """As ``BaseAugTransform.random_magnitude``."""
    level = np.full(count, float(transform.magnitude_level))
    if transform.magnitude_std == 'inf':
        level = rng.uniform(0, level)
    elif transform.magnitude_std > 0:
        level = rng.normal(level, transform.magnitude_std).clip(0, transform.total_level)
    low, high = transform.magnitude_range
    return level / transform.total_level * (high - low) + low
