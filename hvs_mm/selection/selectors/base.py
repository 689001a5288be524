"""The interface of selection rules: each reads values of pairs and knows no method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..combinations import Combinations
from ..groups import ViewGroups
from ..record import Selection
from ..recorded_values import RecordedValues
from ..score_table import ScoreTable
from ..scores import ScoreWeights, is_finite

#: Settings that can change during a run, each with a function that returns the value to set, or
#: raises ``ValueError``.
Dials = Mapping[str, Callable[[Any], Any]]


class Selector(ABC):
    """A rule that keeps one admissible combination of views per sample."""

    #: What it reads in place of the pair losses, from records of the views; the candidates are then
    #: not forwarded.
    values: RecordedValues | None = None
    #: What a ``HardnessSchedule`` can change.
    dials: ClassVar[Dials] = {}

    @abstractmethod
    def __call__(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> Selection:
        """Choose the kept views by ``pair_loss`` (B, T, S), floating point, or by ``values``.

        Raises:
            ValueError: If it does not have the T target and S candidate views of ``groups``.
        """

    def set_dial(self, name: str, value: float) -> None:
        """Change a setting between two steps.

        Raises:
            ValueError: If the selector has no such dial, or the dial no such value.
        """
        if name not in self.dials:
            expected = f'one of {sorted(self.dials)}' if self.dials else 'it has none'
            raise ValueError(f'{type(self).__name__} has no dial {name!r}: {expected}.')
        setattr(self, name, self.dials[name](value))


class ScoreSelector(Selector):
    """A rule that chooses by the scores of combinations.

    A sample whose choice has a NaN or infinite score keeps its hardest combination instead, so such
    a score never wins over a finite one.
    """

    @abstractmethod
    def choose(self, table: ScoreTable) -> Combinations:
        """One combination (K = 1) of each sample."""

    def __call__(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> Selection:
        table = ScoreTable.of(pair_loss, groups, weights)
        hardest, moments = table.extreme(1), table.moments()
        kept = self.choose(table)
        score, hardest_score = table.scores(kept)[:, 0], table.scores(hardest)[:, 0]
        finite = is_finite(score)
        kept = kept.where(finite, hardest)
        return Selection(
            indices=kept.views(groups)[:, 0],
            score=torch.where(finite, score, hardest_score),
            pair_loss=pair_loss,
            mean_score=moments.mean,
            hardest_score=hardest_score,
            target_choice=kept.targets[:, 0],
            nonfinite=moments.nonfinite,
            groups=groups,
        )
