"""Shares of combinations, against the softmax of all scores."""

from __future__ import annotations

import math

import pytest
import torch

from hvs_mm.selection import (
    EasiestSelector,
    HardestSelector,
    ScoreWeights,
    SoftenedSelector,
    ViewGroups,
    build_selector,
)
from hvs_mm.selection.score_table import ScoreTable
from tests.helpers.scores import check_shares, numbers_of, scores_by_hand

GROUPS = {
    'pairs': ViewGroups([4], [2]),
    'crops': ViewGroups([2, 2, 4], [1, 1, 2], 2),
    'two local groups': ViewGroups([3, 4, 3], [2, 2, 1]),
    'all local crops': ViewGroups([3, 3], [2, 3]),
}
WEIGHTS = ScoreWeights(0.5, 2.0)


def shares_by_hand(pair_loss, groups, temperature, weights=WEIGHTS):
    """(N,) the definition, for one image."""
    scores = scores_by_hand(pair_loss, groups, weights)[0]
    finite = scores[scores.isfinite()]
    standard = (scores - finite.mean()) / finite.std(correction=0)
    return torch.where(scores.isfinite(), standard / temperature, -torch.inf).softmax(0)


@pytest.mark.parametrize('temperature', [0.3, 1.0, 5.0, -0.7, math.inf, -math.inf])
@pytest.mark.parametrize('groups', GROUPS.values(), ids=GROUPS)
def test_shares_of_combinations(groups, temperature):
    pair_loss = torch.randn(1, groups.num_targets, groups.num_views)
    expected = shares_by_hand(pair_loss, groups, temperature)
    check_shares(SoftenedSelector(temperature), pair_loss, groups, expected, WEIGHTS)


def test_shares_where_some_scores_are_not_finite():
    groups = GROUPS['crops']
    pair_loss = torch.randn(1, 4, 8)
    pair_loss[0, 0, 3] = math.nan
    pair_loss[0, 1, 5] = math.inf
    pair_loss[0, 3, 6] = -math.inf
    expected = shares_by_hand(pair_loss, groups, 0.8)
    assert 0 < (expected == 0).sum() < 24
    check_shares(SoftenedSelector(0.8), pair_loss, groups, expected, WEIGHTS)


@pytest.mark.parametrize('value', [0.0, 0.1, 1e6])
def test_equal_scores_are_equally_likely(value):
    pair_loss = torch.full((1, 4, 8), value)
    check_shares(SoftenedSelector(0.1), pair_loss, GROUPS['crops'], [1 / 24] * 24)


@pytest.mark.parametrize('temperature', [0, 0.0, -0.0, 1e-6, 1e-30])
def test_zero_is_the_hardest(temperature):
    # Apart by more than rounding.
    pair_loss = torch.randn(50, 4, 8, dtype=torch.float64)
    drawn = SoftenedSelector(temperature)(pair_loss, GROUPS['crops'])
    assert drawn.indices.equal(HardestSelector()(pair_loss, GROUPS['crops']).indices)


def test_from_below_zero_is_the_easiest():
    pair_loss = torch.randn(50, 4, 8, dtype=torch.float64)
    drawn = SoftenedSelector(-1e-30)(pair_loss, GROUPS['crops'])
    assert drawn.indices.equal(EasiestSelector()(pair_loss, GROUPS['crops']).indices)


def test_scores_are_standardized_within_the_image():
    pair_loss, groups = torch.randn(100, 4, 8, dtype=torch.float64), GROUPS['crops']
    other = pair_loss * torch.rand(100, 1, 1) * 100 + torch.randn(100, 1, 1) * 1000
    torch.manual_seed(1)
    drawn = SoftenedSelector(0.5)(pair_loss, groups)
    torch.manual_seed(1)
    again = SoftenedSelector(0.5)(other, groups)
    assert drawn.indices.equal(again.indices)
    torch.testing.assert_close(drawn.hardness(), again.hardness())
    assert len(set(numbers_of(drawn))) > 5


@pytest.mark.parametrize('temperature', [0.2, 1.0])
def test_the_combinations_of_dino(temperature):
    """51,480 of them, in float32 and with losses far from zero: mean and spread of the score."""
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    pair_loss = 11 + torch.randn(1, 4, 20)
    scores = ScoreTable.of(pair_loss.double(), groups).listed()[0]
    standard = (scores - scores.mean()) / scores.std(correction=0)
    shares = (standard / temperature).softmax(0)
    mean = (shares * scores).sum()
    std = (shares * (scores - mean).square()).sum().sqrt()
    drawn = SoftenedSelector(temperature)(pair_loss.expand(3000, -1, -1), groups).score.double()
    assert abs(drawn.mean() - mean) < 3.5 * std / 3000**0.5
    assert drawn.std().item() == pytest.approx(std.item(), rel=0.1)


@pytest.mark.parametrize('value', [math.nan, '1', None, True, [1]])
def test_no_temperature(value):
    with pytest.raises(ValueError, match=r'^temperature=.* must be a number: 0 keeps the hardest'):
        build_selector({'type': 'softened', 'temperature': value})
