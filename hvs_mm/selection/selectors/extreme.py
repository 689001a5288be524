"""The hardest and the easiest combination, of all or of some."""

from __future__ import annotations

from typing import Any, ClassVar

from ...utils.arguments import check_choice, check_whole, is_number
from ...utils.registry import TASK_UTILS
from ..combinations import Combinations
from ..score_table import ScoreTable
from ..scores import rank_key
from .base import Dials, ScoreSelector


def check_comparisons(value: Any) -> int:
    """Return ``max_comparisons``, or raise ``ValueError`` unless it is a positive integer."""
    hint = 'or leave it out to search all combinations.'
    return check_whole('max_comparisons', value, hint=hint)


def _nearest_comparisons(value: Any) -> int:
    return check_comparisons(round(value) if is_number(value) else value)


class _ExtremeSelector(ScoreSelector):
    """Keeps the combination at one end of the order of scores.

    The search is exact and costs one sort per group of local views: for fixed target views the
    local part of a score is a sum of independent terms, so the best locals are the top ones. Ties
    go to the combination that comes first in lexicographic order, that is to the lowest index.

    Args:
        max_comparisons: Compare only this many combinations, drawn at random without replacement
            (beyond 131,072 combinations independently); the published code of DINO takes 64.
            ``None`` compares all of them.
        draw: ``'batch'`` draws them once for the samples of a batch, as published, ``'sample'``
            anew for each sample.

    Raises:
        ValueError: If ``max_comparisons`` is not a positive integer, or ``draw`` is neither.
    """

    #: 1 keeps the highest score, -1 the lowest.
    _sign: int

    dials: ClassVar[Dials] = {'max_comparisons': _nearest_comparisons}

    def __init__(self, max_comparisons: int | None = None, draw: str = 'batch') -> None:
        if max_comparisons is not None:
            check_comparisons(max_comparisons)
        hint = 'for whom max_comparisons combinations are drawn.'
        self.max_comparisons = max_comparisons
        self.draw = check_choice('draw', draw, ('batch', 'sample'), hint=hint)

    def choose(self, table: ScoreTable) -> Combinations:
        count = self.max_comparisons
        if count is None or count >= table.num_combinations:
            return table.extreme(self._sign)
        drawn = table.draw(count, shared=self.draw == 'batch')
        # torch.argmax returns the first of equal values.
        return drawn.take(rank_key(table.scores(drawn), self._sign).argmax(1))


@TASK_UTILS.register_module()
class HardestSelector(_ExtremeSelector):
    """Hard View Selection: keeps the combination with the highest score (arXiv 2310.03940)."""

    _sign = 1


@TASK_UTILS.register_module()
class EasiestSelector(_ExtremeSelector):
    """Ablation: keeps the combination with the lowest score."""

    _sign = -1
