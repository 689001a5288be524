"""Replace some of the choices of a selection by random ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .record import Selection
from .score_table import ScoreTable
from .scores import ScoreWeights, is_finite


def relax(selection: Selection, level: Tensor, weights: ScoreWeights = ScoreWeights()) -> Selection:
    """Keep the choice of each sample with probability ``level``, else a random combination.

    Whatever selector has chosen, the realized hardness is on average its own times ``level``. Draws
    come from torch's generator of the device; none where there is one combination only. A draw
    whose score is not finite is not taken.

    Args:
        selection: A selection of B samples, by all samples of a batch or some of them.
        level: () from 0, all random, to 1, the selection as it is; on the device.
        weights: Weights of the parts of its scores.
    """
    table = ScoreTable.of(selection.pair_loss, selection.groups, weights)
    if table.num_combinations == 1:
        return selection
    drawn = table.draw(1)
    score = table.scores(drawn)[:, 0]
    # Never above 1, so that a level of 1 keeps everything.
    is_random = (torch.rand_like(score) >= level) & is_finite(score)
    views = drawn.views(selection.groups)[:, 0]
    return replace(
        selection,
        indices=torch.where(is_random[:, None], views, selection.indices),
        score=torch.where(is_random, score, selection.score),
        target_choice=torch.where(is_random, drawn.targets[:, 0], selection.target_choice),
    )
