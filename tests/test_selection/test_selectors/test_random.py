"""Random combinations."""

from __future__ import annotations

import math

import pytest
import torch

from hvs_mm.selection import HardestSelector, RandomSelector, ScoreWeights, ViewGroups
from tests.helpers.scores import check_shares, numbers_of, scores_by_hand


@pytest.mark.parametrize(
    'groups', [ViewGroups([4], [2]), ViewGroups([2, 2, 4], [1, 1, 2], 2)], ids=['pairs', 'crops']
)
def test_uniform_whatever_the_losses(groups):
    pair_loss = torch.rand(1, groups.num_targets, groups.num_views)
    total = groups.num_combinations()
    check_shares(RandomSelector(), pair_loss, groups, [1 / total] * total)


def test_the_record():
    groups, weights = ViewGroups([2, 2, 5], [1, 1, 2], 2), ScoreWeights(0.5, 2.0)
    pair_loss = torch.rand(20, 4, 9, dtype=torch.float64)
    selection = RandomSelector()(pair_loss, groups, weights)
    expected = scores_by_hand(pair_loss, groups, weights)
    numbers = torch.tensor(numbers_of(selection))
    torch.testing.assert_close(selection.score, expected[torch.arange(20), numbers])
    assert len(set(numbers.tolist())) > 5
    hardest = HardestSelector()(pair_loss, groups, weights)
    for name in ('mean_score', 'hardest_score', 'nonfinite'):
        assert getattr(selection, name).equal(getattr(hardest, name))
    chosen = [groups.target_combinations()[choice] for choice in selection.target_choice]
    assert chosen == [tuple(views[:2]) for views in selection.indices.tolist()]


def test_scores_that_are_not_finite_are_avoided():
    pair_loss = torch.rand(200, 4, 4)
    pair_loss[:, 0] = math.nan
    selection = RandomSelector()(pair_loss, ViewGroups([4], [2]))
    assert (selection.indices != 0).all()
    assert selection.score.isfinite().all()
    assert selection.nonfinite.tolist() == [0.5] * 200
