"""Combinations at a quantile, against sorted scores."""

from __future__ import annotations

import math
from itertools import combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hvs_mm.selection import (
    EasiestSelector,
    HardestSelector,
    QuantileSelector,
    ViewGroups,
    build_selector,
)
from hvs_mm.selection.selectors.quantile import quantile_position
from tests.helpers.scores import (
    NONFINITE,
    TIES,
    numbers_of,
    problems,
    scores_by_hand,
)

CROPS = ViewGroups([2, 2, 4], [1, 1, 2], 2)


@given(problem=problems(TIES | NONFINITE), quantile=st.floats(0, 1))
@settings(deadline=None, max_examples=80)
def test_the_rank_of_the_kept_score(problem, quantile):
    selection = QuantileSelector(quantile)(*problem)
    for scores, number in zip(scores_by_hand(*problem).tolist(), numbers_of(selection)):
        finite = sorted(score for score in scores if math.isfinite(score))
        if finite:
            rank = math.floor(quantile * (len(finite) - 1) + 0.5)
            # Of equal ones, the first.
            assert number == scores.index(finite[rank])


@pytest.mark.parametrize('quantile', [0.0, 0.1, 0.5, 0.77, 0.9, 1.0])
def test_ranks_where_some_scores_are_not_finite(quantile):
    scores = torch.randn(100, 12, dtype=torch.float64)
    for value in (math.nan, math.inf, -math.inf):
        scores[torch.rand(100, 12) < 0.15] = value
    for row, position in zip(scores.tolist(), quantile_position(scores, quantile)):
        finite = sorted(score for score in row if math.isfinite(score))
        assert row[position] == finite[math.floor(quantile * (len(finite) - 1) + 0.5)]


@pytest.mark.parametrize(('quantile', 'rank'), [(1, 0), (0.8, 1), (0.6, 2), (0.45, 3), (0, 5)])
def test_second_hardest_and_so_on(quantile, rank):
    pair_loss, groups = torch.randn(20, 4, 4), ViewGroups([4], [2])
    scores = scores_by_hand(pair_loss, groups)
    expected = scores.argsort(1, descending=True)[:, rank].tolist()
    assert numbers_of(QuantileSelector(quantile)(pair_loss, groups)) == expected


@pytest.mark.parametrize(('quantile', 'same'), [(1, HardestSelector), (0.0, EasiestSelector)])
def test_the_ends(quantile, same):
    pair_loss = torch.randn(20, 4, 20)
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    selection = QuantileSelector(quantile)(pair_loss, groups)
    assert selection.indices.equal(same()(pair_loss, groups).indices)


def test_the_combinations_of_dino():
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    pair_loss = torch.randn(2, 4, 20, dtype=torch.float64)
    selection = QuantileSelector(0.9)(pair_loss, groups)
    subsets = torch.tensor(list(combinations(range(4, 20), 8)))
    for losses, kept in zip(pair_loss, selection.score):
        scores = torch.cat(
            [
                losses[a, c] + losses[c, a] + (losses[a] + losses[c])[subsets].sum(1)
                for a, c in product((0, 1), (2, 3))
            ]
        )
        # 0.9 * 51,479, rounded
        torch.testing.assert_close(kept, scores.sort().values[46331] / 18)


def test_too_many_to_list(monkeypatch):
    """The rank within a random subset, the same for all images."""
    monkeypatch.setattr('hvs_mm.selection.selectors.quantile.MAX_LISTED', 100)
    monkeypatch.setattr('hvs_mm.selection.score_table.MAX_LISTED', 100)
    monkeypatch.setattr('hvs_mm.selection.selectors.quantile._NUM_DRAWN', 50)
    groups = ViewGroups([3, 8], [2, 4])
    pair_loss = torch.randn(1, 3, 11, dtype=torch.float64).expand(2, -1, -1)
    scores = scores_by_hand(pair_loss[:1], groups)[0]
    ranks = []
    for _ in range(100):
        first, second = QuantileSelector(0.75)(pair_loss, groups).score
        assert first == second
        ranks.append((scores < first - 1e-9).double().mean())
    ranks = torch.stack(ranks)
    std = (0.75 * 0.25 / 50) ** 0.5
    assert abs(ranks.mean() - 0.75) < 4 * std / 100**0.5 + 1 / 50
    assert ranks.std().item() == pytest.approx(std, rel=0.3)


@pytest.mark.parametrize('value', [-0.1, 1.1, math.nan, '1', None, True])
def test_no_quantile(value):
    message = r'^quantile=.* must be between 0 and 1: 1 keeps the hardest combination, 0 the'
    with pytest.raises(ValueError, match=message):
        build_selector({'type': 'quantile', 'quantile': value})
