"""A rule of its own for the global and for the local crops."""

from __future__ import annotations

from typing import Any

from ...utils.registry import TASK_UTILS, build_part
from ..combinations import Combinations
from ..recorded_values import RecordedValues
from ..score_table import ScoreTable
from .base import Dials, ScoreSelector
from .extreme import EasiestSelector, HardestSelector
from .quantile import QuantileSelector
from .random import RandomSelector
from .softened import SoftenedSelector
from .without_forwards import (
    IoUBelowSelector,
    LargestColorDifferenceSelector,
    LowestIoUSelector,
)

#: Short names of the rules that a group can have.
RULES: dict[str, type[ScoreSelector]] = {
    'hardest': HardestSelector,
    'random': RandomSelector,
    'easiest': EasiestSelector,
    'softened': SoftenedSelector,
    'quantile': QuantileSelector,
    'lowest_iou': LowestIoUSelector,
    'iou_below': IoUBelowSelector,
    'largest_color_difference': LargestColorDifferenceSelector,
}


@TASK_UTILS.register_module()
class PerGroupSelector(ScoreSelector):
    """Chooses global and local crops by a rule each, such as hard global and random local crops.

    The rule for the global crops, the views of the target groups, compares their combinations by
    the mean score over all choices of local crops. Given the global crops that it keeps, the rule
    for the local crops chooses in each local group by the losses to these. So hard rules for both
    need not find the combination that is hardest as a whole, as ``'hardest'`` does.

    Rules that take no forward passes, such as ``'lowest_iou'``, go together with each other if they
    read the same, and with ``'random'``.

    Args:
        global_crops: A selector that goes by scores, such as ``'hardest'`` or
            ``dict(type='softened', temperature=0.5)``.
        local_crops: Likewise. Both are ``'random'`` by default.

    Raises:
        TypeError, ValueError: If a rule is no such selector.
        ValueError: If a group does not exist, or the rules do not read the same; when it chooses,
            if there is a rule for local crops but no group of them.
    """

    def __init__(
        self,
        global_crops: str | dict[str, Any] | ScoreSelector = 'random',
        local_crops: str | dict[str, Any] | ScoreSelector | None = None,
        **unknown: Any,
    ) -> None:
        for name, value in unknown.items():
            raise ValueError(_unknown_group(name, value))
        self._has_local_rule = local_crops is not None
        rules = {
            'global_crops': global_crops,
            'local_crops': 'random' if local_crops is None else local_crops,
        }
        self.rules = {
            name: build_part(
                f'selector.{name}',
                {'type': rule} if isinstance(rule, str) else rule,
                ScoreSelector,
                RULES,
                short=RULES,
            )
            for name, rule in rules.items()
        }
        self.values = _common_values(self.rules)

    @property
    def dials(self) -> Dials:  # type: ignore[override]  # those of an object, not of the class
        """The dials of the rules, such as ``local_crops.temperature``."""
        return {
            f'{name}.{dial}': check
            for name, rule in self.rules.items()
            for dial, check in rule.dials.items()
        }

    def set_dial(self, name: str, value: float) -> None:
        group, _, dial = name.partition('.')
        if name in self.dials:
            self.rules[group].set_dial(dial, value)
        else:
            super().set_dial(name, value)

    def choose(self, table: ScoreTable) -> Combinations:
        if self._has_local_rule and not table.local:
            raise ValueError(
                'selector.local_crops is set, but every group of candidates holds global crops: '
                'leave it out.'
            )
        chosen = self.rules['global_crops'].choose(table.of_targets())
        parts = [self.rules['local_crops'].choose(part) for part in table.of_local(chosen)]
        return Combinations(chosen.targets, tuple(part.local[0] for part in parts))


def _common_values(rules: dict[str, ScoreSelector]) -> RecordedValues | None:
    """What all rules read, but random ones, which take any."""
    found = {name: one.values for name, one in rules.items() if not isinstance(one, RandomSelector)}
    if len(set(found.values())) > 1:
        read = (f'{name} by {one.title if one else "pair loss"}' for name, one in found.items())
        raise ValueError(
            f"selector='per_group' would choose {' and '.join(read)}: take rules that go by the "
            "same, or 'random' for one of the two."
        )
    return next(iter(found.values()), None)


def _unknown_group(name: str, value: Any) -> str:
    if name in ('max_comparisons', 'draw'):
        return (
            f"selector='per_group' compares no combinations of all groups, so {name}={value!r} "
            "has no meaning: set it for a group, such as global_crops=dict(type='hardest', "
            f'{name}={value!r}).'
        )
    return (
        f"selector='per_group' knows no group {name!r}: expected 'global_crops' or 'local_crops'."
    )
