"""Choices that become random with a probability."""

from __future__ import annotations

import pytest
import torch

from hvs_mm.selection import HardestSelector, ScoreWeights, ViewGroups
from hvs_mm.selection.relaxation import relax
from hvs_mm.selection.scores import kept_scores
from tests.helpers.scores import PLAIN, check_shares, scores_by_hand

GROUPS = ViewGroups([2, 3], [1, 2])
WEIGHTS = ScoreWeights(0.5, 2.0)


class Relaxed(HardestSelector):
    """The hardest combination with a probability, else a random one."""

    def __init__(self, level):
        super().__init__()
        self.level = torch.tensor(level)

    def __call__(self, pair_loss, groups, weights=PLAIN):
        return relax(super().__call__(pair_loss, groups, weights), self.level, weights)


@pytest.mark.parametrize('level', [0.0, 0.3, 1.0])
def test_shares_of_combinations(level):
    pair_loss = torch.randn(2, 5)
    scores = scores_by_hand(pair_loss[None], GROUPS)[0]
    expected = [(1 - level) / len(scores)] * len(scores)
    expected[scores.argmax()] += level
    check_shares(Relaxed(level), pair_loss, GROUPS, expected)


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
def test_the_record_is_that_of_what_is_kept(level):
    pair_loss = torch.randn(400, 2, 5)
    hardest = HardestSelector()(pair_loss, GROUPS, WEIGHTS)
    selection = relax(hardest, torch.tensor(level), WEIGHTS)
    expected = kept_scores(pair_loss, selection.indices, GROUPS, WEIGHTS)
    torch.testing.assert_close(selection.score, expected)
    targets = GROUPS.target_combinations()
    assert [targets[i] for i in selection.target_choice] == [(i,) for i in selection.indices[:, 0]]
    # The standard deviation of a mean over 400 images is below 0.05.
    assert selection.hardness().mean().item() == pytest.approx(level, abs=0.15)
    for name in ('pair_loss', 'mean_score', 'hardest_score', 'nonfinite'):
        assert getattr(selection, name) is getattr(hardest, name)


def test_each_image_draws_for_itself():
    pair_loss = torch.randn(1, 2, 5).expand(200, -1, -1)
    selection = relax(HardestSelector()(pair_loss, GROUPS), torch.tensor(0.0))
    assert len(set(map(tuple, selection.indices.tolist()))) == GROUPS.num_combinations()


def test_a_draw_that_is_not_finite_is_not_taken():
    pair_loss = torch.randn(300, 2, 5)
    # Of the two global views only the second one has finite losses.
    pair_loss[:, 0] = torch.nan
    selection = relax(HardestSelector()(pair_loss, GROUPS), torch.tensor(0.0))
    assert selection.score.isfinite().all()
    assert (selection.indices[:, 0] == 1).all()
    assert len(set(map(tuple, selection.indices.tolist()))) == 3


def test_without_a_choice_nothing_is_drawn():
    groups = ViewGroups([1, 2], [1, 2])
    state = torch.get_rng_state()
    selection = HardestSelector()(torch.randn(4, 1, 3), groups)
    state = torch.get_rng_state()
    assert relax(selection, torch.tensor(0.0)) is selection
    assert torch.equal(state, torch.get_rng_state())
