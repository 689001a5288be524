"""Selectors against a search that scores every combination with nested Python loops."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings

from hvs_mm.selection import EasiestSelector, HardestSelector, ScoreWeights, ViewGroups
from hvs_mm.selection.record import join_selections
from hvs_mm.selection.selectors import combination_scores
from tests.helpers.scores import (
    NONFINITE,
    REALS,
    TIES,
    check_shares,
    combinations_of,
    problems,
    scores_by_hand,
)


def search_by_hand(problem, sign):
    """(kept views, score, mean score, highest score) per sample."""
    options = combinations_of(problem[1])
    for scores in scores_by_hand(*problem).tolist():
        finite = [score for score in scores if math.isfinite(score)]
        if finite:
            best = max(finite) if sign == 1 else min(finite)
            mean = sum(finite) / len(finite)
            yield options[scores.index(best)], best, mean, max(finite)
        else:
            yield options[0], math.nan, math.nan, math.nan


def both_ends(problem):
    """What both selectors keep of every sample, and what they should."""
    for selector, sign in ((HardestSelector(), 1), (EasiestSelector(), -1)):
        selection = selector(*problem)
        for row, expected in enumerate(search_by_hand(problem, sign)):
            yield selection, row, expected


@given(problem=problems(TIES))
@settings(deadline=None, max_examples=80)
def test_ties_go_to_the_first_combination(problem):
    groups = problem[1]
    for selection, row, (views, score, mean, highest) in both_ends(problem):
        assert tuple(selection.indices[row].tolist()) == views
        assert selection.score[row].item() == pytest.approx(score)
        assert selection.mean_score[row].item() == pytest.approx(mean)
        assert selection.hardest_score[row].item() == pytest.approx(highest)
        kept_targets = views[: groups.num_kept_targets]
        assert groups.target_combinations()[selection.target_choice[row]] == kept_targets


@given(problem=problems(REALS))
@settings(deadline=None, max_examples=80)
def test_extreme_score(problem):
    for selection, row, (_, score, mean, _) in both_ends(problem):
        assert selection.score[row].item() == pytest.approx(score, abs=1e-9)
        assert selection.mean_score[row].item() == pytest.approx(mean, abs=1e-9)


@given(problem=problems(TIES | NONFINITE))
@settings(deadline=None, max_examples=120)
def test_nonfinite_never_wins(problem):
    groups = problem[1]
    for selection, row, (views, score, mean, highest) in both_ends(problem):
        kept = tuple(selection.indices[row].tolist())
        if math.isfinite(score):
            assert kept == views
            assert selection.score[row].item() == pytest.approx(score)
            assert selection.mean_score[row].item() == pytest.approx(mean)
            assert selection.hardest_score[row].item() == pytest.approx(highest)
        else:
            # Nothing to choose from, but still admissible views and an honest score.
            assert kept in combinations_of(groups)
            assert not selection.score[row].isfinite()


def test_share_of_nonfinite_scores_is_counted():
    pair_loss = torch.rand(2, 4, 4)
    pair_loss[1, 0, :] = math.nan  # view 0 as a target: 3 of 6 pairs
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    assert selection.nonfinite.tolist() == [0, 0.5]
    assert 0 not in selection.indices[1]
    assert selection.mean_score.isfinite().all()


def test_nan_on_an_unused_diagonal_does_not_matter():
    pair_loss = torch.rand(2, 4, 4)
    expected = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    pair_loss.diagonal(dim1=1, dim2=2).fill_(math.nan)
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    assert selection.indices.equal(expected.indices)
    assert selection.score.equal(expected.score)
    assert selection.nonfinite.tolist() == [0, 0]


def test_all_local_subsets_of_dino():
    """All 12,870 choices of 8 out of 16 locals, for every pair of global views."""
    groups, one_pair = ViewGroups([2, 2, 16], [1, 1, 8], 2), ViewGroups([1, 1, 16], [1, 1, 8], 2)
    pair_loss = torch.rand(5, 4, 20, dtype=torch.float64)
    selection = HardestSelector()(pair_loss, groups)
    subsets = torch.tensor(list(combinations(range(4, 20), 8)))
    best = torch.full((5,), -math.inf, dtype=torch.float64)
    kept = torch.empty(5, 10, dtype=torch.int64)
    for a, c in product((0, 1), (2, 3)):
        local = (pair_loss[:, a] + pair_loss[:, c])[:, subsets].sum(-1)
        score = (pair_loss[:, a, c] + pair_loss[:, c, a])[:, None] + local
        top, which = (score / 18).max(1)
        # The pair alone: not only the overall winner has the best locals.
        views = torch.tensor([a, c, *range(4, 20)])
        alone = HardestSelector()(pair_loss[:, [a, c]][:, :, views], one_pair)
        torch.testing.assert_close(alone.score, top)
        assert views[alone.indices[:, 2:]].equal(subsets[which])
        assert alone.indices[:, :2].tolist() == [[0, 1]] * 5
        for row in range(5):
            if top[row] > best[row]:
                best[row] = top[row]
                kept[row] = torch.tensor([a, c, *subsets[which[row]]])
    torch.testing.assert_close(selection.score, best)
    assert selection.indices.equal(kept)


@pytest.mark.parametrize('draw', ['batch', 'sample'])
@pytest.mark.parametrize('selector', [HardestSelector, EasiestSelector])
def test_max_comparisons_takes_the_best_of_a_random_subset(selector, draw):
    """Of n combinations, k of them drawn without replacement, the best is that with rank r (0 is
    the best) with a probability of C(n - 1 - r, k - 1) / C(n, k).
    """
    groups, weights = ViewGroups([2, 2, 4], [1, 1, 2], 2), ScoreWeights(0.5, 2.0)
    pair_loss = torch.rand(1, 4, 8, dtype=torch.float64)
    order = (-selector._sign * scores_by_hand(pair_loss, groups, weights)[0]).argsort()
    expected = torch.zeros(24)
    for rank, number in enumerate(order):
        expected[number] = math.comb(23 - rank, 2) / math.comb(24, 3)
    if draw == 'sample':
        check_shares(selector(3, draw), pair_loss, groups, expected, weights)
        return

    def one_by_one(pair_loss, *args):
        kept = [selector(3)(one[None], *args) for one in pair_loss]
        return join_selections(kept)

    check_shares(one_by_one, pair_loss, groups, expected, weights, draws=500)


def test_max_comparisons_are_drawn_for_the_batch_or_for_each_sample():
    groups = ViewGroups([2, 2, 8], [1, 1, 4], 2)
    same = torch.rand(1, 4, 12).expand(20, -1, -1)
    batch = HardestSelector(max_comparisons=4)(same, groups).indices
    assert (batch == batch[0]).all()
    again = HardestSelector(max_comparisons=4)(same, groups).indices
    assert not again.equal(batch)
    own = HardestSelector(max_comparisons=4, draw='sample')(same, groups).indices
    assert len({tuple(views) for views in own.tolist()}) > 10


def test_max_comparisons_of_too_many_to_list(monkeypatch):
    groups = ViewGroups([2, 2, 4], [1, 1, 2], 2)
    pair_loss = torch.rand(1, 4, 8, dtype=torch.float64)
    monkeypatch.setattr('hvs_mm.selection.score_table.MAX_LISTED', 23)
    torch.manual_seed(1)
    order = (-scores_by_hand(pair_loss, groups)[0]).argsort()
    expected = torch.zeros(24)
    # Independent draws.
    for rank, number in enumerate(order):
        expected[number] = ((24 - rank) / 24) ** 3 - ((23 - rank) / 24) ** 3
    check_shares(HardestSelector(3, 'sample'), pair_loss, groups, expected)


def test_max_comparisons_of_dino():
    """64 of 51,480 combinations keep the share of the gap that the method's authors would get."""
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    selection = HardestSelector(64, 'sample')(torch.randn(1000, 4, 20), groups)
    assert 0.6 < selection.hardness().mean() < 0.75
    assert (selection.hardness() < 1 + 1e-6).all()


def test_max_comparisons_beyond_the_number_of_combinations_is_exact():
    pair_loss = torch.rand(6, 4, 4)
    groups = ViewGroups([4], [2])
    assert HardestSelector(max_comparisons=6)(pair_loss, groups).indices.equal(
        HardestSelector()(pair_loss, groups).indices
    )


def test_combination_scores():
    groups, weights = ViewGroups([2, 2, 4], [1, 1, 2], 2), ScoreWeights(1.5, 0.5)
    pair_loss = torch.rand(3, 4, 8, dtype=torch.float64)
    scores = combination_scores(pair_loss, combinations_of(groups), groups, weights)
    torch.testing.assert_close(scores, scores_by_hand(pair_loss, groups, weights))
