"""A random combination."""

from __future__ import annotations

from ...utils.registry import TASK_UTILS
from ..combinations import Combinations
from ..score_table import ScoreTable
from .base import ScoreSelector


@TASK_UTILS.register_module()
class RandomSelector(ScoreSelector):
    """Control: keeps a uniformly random admissible combination of each sample.

    The candidates are forwarded and scored as for :class:`HardestSelector`, so a run costs the same
    and only the choice differs. Draws from torch's global generator of the device. A sample whose
    draw has a score that is not finite keeps its hardest combination instead.
    """

    def choose(self, table: ScoreTable) -> Combinations:
        return table.draw(1)
