"""The record of a selection."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from hvs_mm.selection import ScoreWeights, ViewGroups, build_selector
from tests.helpers.scores import numbers_of, scores_by_hand

GROUPS = ViewGroups([2, 2, 4], [1, 1, 2], 2)
#: A setting of every selector.
SELECTORS = [
    'hardest',
    'easiest',
    'random',
    {'type': 'hardest', 'max_comparisons': 3},
    {'type': 'easiest', 'max_comparisons': 3, 'draw': 'sample'},
    {'type': 'softened', 'temperature': 0.5},
    {'type': 'quantile', 'quantile': 0.8},
    {'type': 'per_group', 'global_crops': 'hardest'},
]


@pytest.mark.parametrize('setting', SELECTORS)
def test_every_selector_makes_the_same_record(setting):
    pair_loss, weights = torch.randn(30, 4, 8), ScoreWeights(0.5, 2.0)
    selection = build_selector(setting)(pair_loss, GROUPS, weights)
    scores = scores_by_hand(pair_loss, GROUPS, weights).float()
    kept = scores[torch.arange(30), numbers_of(selection)]
    mean, hardest = scores.mean(1), scores.max(1).values
    close = dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(selection.score, kept, **close)
    torch.testing.assert_close(selection.mean_score, mean, **close)
    torch.testing.assert_close(selection.hardest_score, hardest, **close)
    torch.testing.assert_close(selection.hardness(), (kept - mean) / (hardest - mean), **close)
    assert selection.pair_loss is pair_loss
    assert selection.nonfinite.tolist() == [0] * 30
    targets = [GROUPS.target_combinations()[choice] for choice in selection.target_choice]
    assert targets == [tuple(views[:2]) for views in selection.indices.tolist()]
    assert selection.indices.dtype == selection.target_choice.dtype == torch.int64
    assert {selection.score.dtype, selection.hardness().dtype} == {torch.float32}


def test_hardness_is_on_one_scale():
    pair_loss = torch.randn(4000, 4, 8)

    def hardness(setting):
        return build_selector(setting)(pair_loss, GROUPS).hardness()

    assert hardness('hardest').tolist() == [1] * 4000
    assert (hardness('easiest') < 0).all()
    drawn = hardness('random')
    assert abs(drawn.mean()) < 3 * drawn.std() / 4000**0.5


@pytest.mark.parametrize('value', [0.0, 0.1, 1e6])
def test_equal_scores_have_no_hardness(value):
    pair_loss = torch.full((2, 4, 8), value)
    # The last digit, in which sums in another order differ.
    pair_loss[1] *= 1 + torch.rand(4, 8) * 1e-7
    assert build_selector('random')(pair_loss, GROUPS).hardness().isnan().all()


@pytest.mark.parametrize('setting', SELECTORS)
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_no_finite_score(setting, value):
    pair_loss = torch.rand(3, 4, 8)
    pair_loss[1] = value
    selection = build_selector(setting)(pair_loss, GROUPS)
    numbers_of(selection)
    assert selection.score.isfinite().tolist() == [True, False, True]
    assert selection.hardness().isnan().tolist() == [False, True, False]
    assert selection.nonfinite.tolist() == [0, 1, 0]


@pytest.mark.parametrize('setting', SELECTORS)
def test_a_score_that_is_not_finite_is_never_kept(setting):
    pair_loss = torch.randn(100, 4, 8)
    # Only the combination of the last views is left.
    pair_loss[:, (0, 2)] = math.nan
    pair_loss[:, :, 4:6] = math.inf
    selection = build_selector(setting)(pair_loss, GROUPS)
    assert selection.indices.tolist() == [[1, 3, 6, 7]] * 100
    torch.testing.assert_close(selection.nonfinite, torch.full((100,), 23 / 24))


@pytest.mark.parametrize('setting', SELECTORS)
def test_nothing_is_drawn_where_there_is_nothing_to_choose(setting):
    groups = ViewGroups([1, 1, 3], [1, 1, 3], 2)
    pair_loss = torch.rand(2, 2, 5)
    before = torch.get_rng_state()
    selection = build_selector(setting)(pair_loss, groups)
    assert torch.get_rng_state().equal(before)
    assert selection.indices.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert selection.hardness().isnan().all()


@pytest.mark.parametrize('setting', SELECTORS)
@pytest.mark.parametrize('shape', [(3, 4), (3, 4, 5), (3, 3, 8)])
def test_wrong_shape(setting, shape):
    with pytest.raises(ValueError, match=r'pair_loss has shape .* expected \(B, 4, 8\)'):
        build_selector(setting)(torch.rand(shape), GROUPS)


def test_choice_shares():
    groups = ViewGroups([4], [2])
    selection = build_selector('hardest')(torch.rand(50, 4, 4), groups)
    counts = Counter(map(tuple, selection.indices.tolist()))
    expected = [counts[pair] / 50 for pair in groups.target_combinations()]
    assert selection.choice_shares().tolist() == pytest.approx(expected)
