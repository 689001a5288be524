"""Selection rules: each reads a tensor of values of pairs and knows no method."""

from __future__ import annotations

from typing import Any

from ...utils.registry import build_part
from ..scores import combination_scores, kept_scores
from .base import ScoreSelector, Selector
from .extreme import EasiestSelector, HardestSelector
from .per_group import RULES, PerGroupSelector
from .quantile import QuantileSelector
from .random import RandomSelector
from .softened import SoftenedSelector
from .without_forwards import (
    IoUBelowSelector,
    LargestColorDifferenceSelector,
    LowestIoUSelector,
)

__all__ = [
    'SELECTORS',
    'EasiestSelector',
    'HardestSelector',
    'IoUBelowSelector',
    'LargestColorDifferenceSelector',
    'LowestIoUSelector',
    'PerGroupSelector',
    'QuantileSelector',
    'RandomSelector',
    'ScoreSelector',
    'Selector',
    'SoftenedSelector',
    'build_selector',
    'combination_scores',
    'kept_scores',
]

#: Short names of selectors in configs.
SELECTORS: dict[str, type[Selector]] = {**RULES, 'per_group': PerGroupSelector}


def build_selector(selector: str | dict[str, Any] | Selector) -> Selector:
    """Build a selector from a setting.

    Args:
        selector: ``'hardest'``, ``'random'``, ``'easiest'``, ``'softened'``, ``'per_group'``,
            ``'lowest_iou'`` or ``'largest_color_difference'``; a dict with one of these names,
            ``'quantile'``, ``'iou_below'`` or a class registered in ``TASK_UTILS`` as its
            ``type``, e.g. ``dict(type='hardest', max_comparisons=64)``; or a built selector.

    Raises:
        TypeError, ValueError: See :func:`hvs_mm.utils.registry.build_part`.
    """
    settings = {'type': selector} if isinstance(selector, str) else selector
    return build_part('selector', settings, Selector, SELECTORS, short=SELECTORS)
