"""Selection rules: each reads the pair-loss tensor and knows no method."""

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

__all__ = [
    'SELECTORS',
    'EasiestSelector',
    'HardestSelector',
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
        selector: ``'hardest'``, ``'random'``, ``'easiest'``, ``'softened'`` or ``'per_group'``; a
            dict with one of these names, ``'quantile'`` or a class registered in ``TASK_UTILS`` as
            its ``type``, e.g. ``dict(type='hardest', max_comparisons=64)``; or a built selector.

    Raises:
        TypeError, ValueError: See :func:`hvs_mm.utils.registry.build_part`.
    """
    settings = {'type': selector} if isinstance(selector, str) else selector
    return build_part('selector', settings, Selector, SELECTORS, short=SELECTORS)
