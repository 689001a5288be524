"""Selectors that go by how views were cropped and colored, and so need no forward pass."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ...utils.arguments import check_share
from ...utils.compile_guards import compile_guards
from ...utils.registry import TASK_UTILS
from ..combinations import Combinations
from ..recorded_values import COLOR_DIFFERENCE, NEGATIVE_IOU
from ..score_table import MAX_LISTED, ScoreTable
from .base import Dials, ScoreSelector
from .extreme import HardestSelector

#: Combinations drawn where there are too many to list.
_NUM_DRAWN = 2**13


@TASK_UTILS.register_module()
class LowestIoUSelector(HardestSelector):
    """Keeps the combination whose crops overlap least, without a forward pass.

    The score of a combination is minus the mean IoU of the crop boxes, over the same pairs of views
    as the loss: of the target views with each other and with the local ones. For crops of the same
    IoU the first combination in lexicographic order is kept. The arguments are those of
    :class:`HardestSelector`.
    """

    values = NEGATIVE_IOU


@TASK_UTILS.register_module()
class LargestColorDifferenceSelector(HardestSelector):
    """Keeps the combination whose colors were changed most differently, without a forward pass.

    The score of a combination is the mean of
    :func:`hvs_mm.selection.statistics.color.color_difference` over the pairs of views that the loss
    has. The arguments are those of :class:`HardestSelector`.
    """

    values = COLOR_DIFFERENCE


def check_threshold(value: Any) -> float:
    """Return an IoU as a float, or raise ``ValueError`` unless it is from 0 to 1."""
    return check_share('threshold', value, hint='0 keeps the lowest IoU, 1 any.')


@TASK_UTILS.register_module()
class IoUBelowSelector(ScoreSelector):
    """Keeps a random combination whose mean IoU is below a threshold, without a forward pass.

    All combinations below it are equally likely; if an image has none, that with the lowest IoU is
    kept. Scores are those of :class:`LowestIoUSelector`. A ``HardnessSchedule`` of the threshold
    makes crops overlap less and less.

    Up to 131,072 combinations their scores are listed. Beyond that 8,192 random ones are, the same
    for all images of a batch. Draws come from torch's generator of the device.

    Args:
        threshold: From 0, which keeps the lowest IoU, to 1, which keeps any crops that differ.

    Raises:
        ValueError: If the threshold is not from 0 to 1.
    """

    values = NEGATIVE_IOU
    dials: ClassVar[Dials] = {'threshold': check_threshold}

    def __init__(self, threshold: float) -> None:
        self.threshold = check_threshold(threshold)

    @compile_guards
    def choose(self, table: ScoreTable) -> Combinations:
        lowest = table.extreme(1)
        if table.num_combinations == 1 or self.threshold == 0:
            return lowest
        if table.num_combinations > MAX_LISTED:
            drawn = table.draw(_NUM_DRAWN, shared=True)
            below = table.scores(drawn) > -self.threshold
            chosen = drawn.take(draw_position(below))
        else:
            below = table.listed() > -self.threshold
            chosen = table.numbered(draw_position(below)[:, None])
        return chosen.where(below.any(1), lowest)


def draw_position(allowed: Tensor) -> Tensor:
    """Draw one of the positions of each row that are ``True`` in (B, N) uniformly: (B,) int64.

    Any position for rows that have none.
    """
    # A number for each row, not for each position: random numbers would take most of the time.
    counted = allowed.cumsum(1, dtype=torch.int32)
    total = counted[:, -1:]
    number = (torch.rand_like(total, dtype=torch.float64) * total).floor().to(torch.int32) + 1
    return torch.searchsorted(counted, number).squeeze(1).clamp(max=allowed.shape[1] - 1)
