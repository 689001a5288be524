"""Selectors against a search that scores every combination with nested Python loops."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hvs_mm.selection import (
    EasiestSelector,
    HardestSelector,
    RandomSelector,
    ScoreWeights,
    ViewGroups,
    build_selector,
)
from hvs_mm.selection.selectors import combination_scores


def all_combinations(groups):
    start, per_group = 0, []
    for drawn, kept in zip(groups.candidates, groups.keep):
        per_group.append(list(combinations(range(start, start + drawn), kept)))
        start += drawn
    return [sum(pick, ()) for pick in product(*per_group)]


def score_by_hand(loss, views, num_targets, cross_weight, diagonal_weight):
    """The formula of the method, term by term, for one sample given as nested lists."""
    terms = [loss[t][s] for t in views[:num_targets] for s in views if s != t]
    score = cross_weight * sum(terms) / len(terms)
    if diagonal_weight:
        own = [loss[t][t] for t in views[:num_targets]]
        score += diagonal_weight * sum(own) / len(own)
    return score


def search_by_hand(pair_loss, groups, weights, sign):
    """(kept views, score, mean score, share of non-finite scores) per sample."""
    results = []
    for loss in pair_loss.double().tolist():
        best, best_score, scores = None, None, []
        for views in all_combinations(groups):
            score = score_by_hand(
                loss, views, groups.num_kept_targets, weights.cross, weights.diagonal
            )
            scores.append(score)
            if math.isfinite(score) and (best is None or sign * score > sign * best_score):
                best, best_score = views, score
        finite = [score for score in scores if math.isfinite(score)]
        mean = sum(finite) / len(finite) if finite else math.nan
        if best is None:
            best, best_score = all_combinations(groups)[0], math.nan
        results.append((best, best_score, mean, 1 - len(finite) / len(scores)))
    return results


def both_ends(problem):
    """What both selectors keep of every sample, and what they should."""
    for selector, sign in ((HardestSelector(), 1), (EasiestSelector(), -1)):
        selection = selector(*problem)
        for row, expected in enumerate(search_by_hand(*problem, sign)):
            yield selection, row, expected


@st.composite
def problems(draw, values):
    """Random groups and a pair-loss tensor that fits them."""
    num_groups = draw(st.integers(1, 3))
    num_targets = draw(st.integers(1, num_groups))
    candidates = [draw(st.integers(1, 4)) for _ in range(num_groups)]
    keep = [draw(st.integers(1, n)) for n in candidates]
    if sum(keep) < 2:
        candidates[0], keep[0] = max(candidates[0], 2), 2
    groups = ViewGroups(candidates, keep, num_targets)
    shape = (draw(st.integers(1, 3)), groups.num_targets, groups.num_views)
    numbers = draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    weights = draw(st.sampled_from([ScoreWeights(), ScoreWeights(0.5, 2.0)]))
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape), groups, weights


#: Small integers: sums are exact and ties abound.
TIES = st.integers(-3, 3).map(float)
REALS = st.floats(-100, 100)


@given(problem=problems(TIES))
@settings(deadline=None, max_examples=150)
def test_ties_go_to_the_first_combination(problem):
    groups = problem[1]
    for selection, row, (views, score, mean, _) in both_ends(problem):
        assert tuple(selection.indices[row].tolist()) == views
        assert selection.score[row].item() == pytest.approx(score)
        assert selection.mean_score[row].item() == pytest.approx(mean)
        kept_targets = views[: groups.num_kept_targets]
        assert groups.target_combinations()[selection.target_choice[row]] == kept_targets


@given(problem=problems(REALS))
@settings(deadline=None, max_examples=150)
def test_extreme_score(problem):
    for selection, row, (_, score, mean, _) in both_ends(problem):
        assert selection.score[row].item() == pytest.approx(score, abs=1e-9)
        assert selection.mean_score[row].item() == pytest.approx(mean, abs=1e-9)


@given(problem=problems(TIES | st.sampled_from([math.nan, math.inf, -math.inf])))
@settings(deadline=None, max_examples=300)
def test_nonfinite_never_wins(problem):
    groups = problem[1]
    for selection, row, (views, score, _, _) in both_ends(problem):
        kept = tuple(selection.indices[row].tolist())
        if math.isfinite(score):
            assert kept == views
            assert selection.score[row].item() == pytest.approx(score)
            assert selection.mean_score[row].isfinite()
        else:
            # Nothing to choose from, but still admissible views and an honest score.
            assert kept in all_combinations(groups)
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


@pytest.mark.parametrize('selector', [HardestSelector, EasiestSelector])
def test_max_comparisons_takes_the_best_of_a_subset(selector):
    groups = ViewGroups([2, 2, 8], [1, 1, 4], 2)
    pair_loss = torch.rand(6, 4, 12, dtype=torch.float64)
    exact = selector()(pair_loss, groups)
    drawn = [selector(max_comparisons=16)(pair_loss, groups) for _ in range(30)]
    for selection in drawn:
        for row in range(6):
            views = tuple(selection.indices[row].tolist())
            assert views in all_combinations(groups)
            score = score_by_hand(pair_loss[row].tolist(), views, 2, 1, 0)
            assert selection.score[row].item() == pytest.approx(score)
            targets = groups.target_combinations()[selection.target_choice[row]]
            assert targets == views[:2]
    gaps = torch.stack([selection.score - exact.score for selection in drawn]) * selector._sign
    assert (gaps <= 1e-12).all()
    assert (gaps < -1e-3).any(), 'a subset of 16 of 280 combinations should miss the best one'
    # Different subsets from call to call.
    assert len({tuple(s.indices.flatten().tolist()) for s in drawn}) > 1
    # One subset for the whole batch: samples of equal losses keep equal views.
    same = HardestSelector(max_comparisons=4)(pair_loss[:1].expand(6, -1, -1), groups)
    assert (same.indices == same.indices[0]).all()


def test_max_comparisons_beyond_the_number_of_combinations_is_exact():
    pair_loss = torch.rand(6, 4, 4)
    groups = ViewGroups([4], [2])
    assert HardestSelector(max_comparisons=6)(pair_loss, groups).indices.equal(
        HardestSelector()(pair_loss, groups).indices
    )


def test_random_is_uniform_per_sample_and_independent_of_the_losses():
    groups = ViewGroups([4], [2])
    pair_loss = torch.rand(6000, 4, 4)
    selection = RandomSelector()(pair_loss, groups)
    counts = Counter(map(tuple, selection.indices.tolist()))
    assert set(counts) == set(groups.target_combinations())
    # 1000 expected, standard deviation 29: five of them on either side.
    assert all(856 < count < 1144 for count in counts.values())
    for row in range(10):
        score = score_by_hand(pair_loss[row].tolist(), selection.indices[row].tolist(), 2, 1, 0)
        assert selection.score[row].item() == pytest.approx(score)
    torch.testing.assert_close(
        selection.mean_score, HardestSelector()(pair_loss, groups).mean_score
    )


def test_random_avoids_scores_that_are_not_finite():
    pair_loss = torch.rand(200, 4, 4)
    pair_loss[:, 0] = math.nan
    selection = RandomSelector()(pair_loss, ViewGroups([4], [2]))
    assert (selection.indices != 0).all()
    assert selection.score.isfinite().all()
    assert selection.nonfinite.tolist() == [0.5] * 200


def test_random_with_locals_and_diagonal():
    groups = ViewGroups([2, 2, 5], [1, 1, 2], 2)
    weights = ScoreWeights(0.5, 2.0)
    pair_loss = torch.rand(20, 4, 9, dtype=torch.float64)
    selection = RandomSelector()(pair_loss, groups, weights)
    for row, views in enumerate(selection.indices.tolist()):
        assert tuple(views) in all_combinations(groups)
        score = score_by_hand(pair_loss[row].tolist(), views, 2, 0.5, 2.0)
        assert selection.score[row].item() == pytest.approx(score)
        assert groups.target_combinations()[selection.target_choice[row]] == tuple(views[:2])


def test_combination_scores():
    groups = ViewGroups([2, 2, 4], [1, 1, 2], 2)
    pair_loss = torch.rand(3, 4, 8, dtype=torch.float64)
    views = all_combinations(groups)
    scores = combination_scores(pair_loss, views, groups, ScoreWeights(1.5, 0.5))
    for row, column in product(range(3), range(len(views))):
        expected = score_by_hand(pair_loss[row].tolist(), views[column], 2, 1.5, 0.5)
        assert scores[row, column].item() == pytest.approx(expected)


def test_choice_shares():
    groups = ViewGroups([4], [2])
    selection = HardestSelector()(torch.rand(50, 4, 4), groups)
    counts = Counter(map(tuple, selection.indices.tolist()))
    expected = [counts[pair] / 50 for pair in groups.target_combinations()]
    assert selection.choice_shares().tolist() == pytest.approx(expected)


def test_record_dtypes():
    selection = HardestSelector()(torch.rand(3, 4, 4), ViewGroups([4], [2]))
    assert selection.indices.dtype == selection.target_choice.dtype == torch.int64
    assert selection.score.dtype == selection.pair_loss.dtype == torch.float32


@pytest.mark.parametrize(
    ('config', 'cls'),
    [
        ('hardest', HardestSelector),
        ('random', RandomSelector),
        ({'type': 'easiest'}, EasiestSelector),
        ({'type': 'HardestSelector', 'max_comparisons': 128}, HardestSelector),
        (RandomSelector(), RandomSelector),
    ],
)
def test_build(config, cls):
    selector = build_selector(config)
    assert type(selector) is cls
    assert getattr(selector, 'max_comparisons', None) in (None, 128)


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        ('hard', ValueError, "selector='hard' is not known: expected one of .*'hardest'"),
        (3, TypeError, 'selector=3 must be one of'),
        ({'type': 'random', 'max_comparisons': 3}, TypeError, "'random' does not take"),
        ({'type': 'hardest', 'max_comparisons': 0}, ValueError, 'max_comparisons=0'),
        ({'type': 'hardest', 'max_comparisons': 1.5}, ValueError, 'max_comparisons=1.5'),
    ],
)
def test_build_wrong(config, error, message):
    with pytest.raises(error, match=message):
        build_selector(config)


@pytest.mark.parametrize('shape', [(3, 4), (3, 4, 5), (3, 3, 4)])
def test_wrong_shape(shape):
    for selector in (HardestSelector(), RandomSelector()):
        with pytest.raises(ValueError, match='pair_loss has shape'):
            selector(torch.rand(shape), ViewGroups([4], [2]))
