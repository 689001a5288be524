"""All scores in a few tensors, against one score after another."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from scipy.stats import chisquare

from hvs_mm.selection import ScoreWeights, ViewGroups
from hvs_mm.selection.score_table import ScoreTable
from tests.helpers.scores import NONFINITE, REALS, TIES, combinations_of, problems, scores_by_hand


def table_of(*sizes, batch):
    groups = ViewGroups(*sizes)
    pair_loss = torch.rand(batch, groups.num_targets, groups.num_views)
    return ScoreTable.of(pair_loss, groups)


def numbers_in(combinations, groups):
    """The numbers (B, K) of combinations."""
    options = combinations_of(groups)
    views = combinations.views(groups).tolist()
    return torch.tensor([[options.index(tuple(one)) for one in row] for row in views])


@given(problem=problems(REALS))
@settings(deadline=None, max_examples=100)
def test_every_combination_and_its_score(problem):
    groups, expected = problem[1], scores_by_hand(*problem)
    table = ScoreTable.of(*problem)
    assert table.num_combinations == expected.shape[1]
    torch.testing.assert_close(table.listed(), expected)
    everything = torch.arange(expected.shape[1]).expand(len(expected), -1)
    combinations = table.numbered(everything)
    assert numbers_in(combinations, groups).equal(everything)
    torch.testing.assert_close(table.scores(combinations), expected)


@given(problem=problems(TIES | NONFINITE))
@settings(deadline=None, max_examples=100)
def test_moments(problem):
    found = ScoreTable.of(*problem).moments()
    for row, scores in enumerate(scores_by_hand(*problem)):
        finite = scores[scores.isfinite()]
        assert found.nonfinite[row].item() == pytest.approx(1 - len(finite) / len(scores))
        if len(finite):
            assert found.mean[row].item() == pytest.approx(finite.mean().item(), abs=1e-9)
            std = finite.std(correction=0).item()
            assert found.std[row].item() == pytest.approx(std, abs=1e-6)
        else:
            assert found.mean[row].isnan()


def test_moments_of_dino():
    """In float32, and for 51,480 combinations."""
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    table = ScoreTable.of(10 + torch.randn(4, 4, 20), groups)
    scores, found = table.listed().double(), table.moments()
    assert scores.shape == (4, 51480)
    torch.testing.assert_close(found.mean.double(), scores.mean(1), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.std.double(), scores.std(1, correction=0), rtol=1e-4, atol=0)


def test_tables_of_groups():
    groups = ViewGroups([3, 4, 3], [2, 2, 1])
    table = ScoreTable.of(torch.rand(5, 3, 10, dtype=torch.float64), groups, ScoreWeights(2.0, 0.5))
    # (B, target combinations, local combinations of both groups)
    scores = table.listed().unflatten(1, (3, 6, 3))
    torch.testing.assert_close(table.of_targets().listed(), scores.mean((2, 3)))
    targets = torch.tensor([[0], [2], [1], [1], [0]])
    first, second = table.of_local(table.numbered(targets * 18))
    given_targets = scores[torch.arange(5), targets[:, 0]]
    for part, kept, axis in ((first, 2, 2), (second, 1, 1)):
        # Up to a constant, which the other views add, as means over 2 * kept of 2 + 4 + 2 pairs.
        part, expected = part.listed(), given_targets.mean(axis) * 8 / (2 * kept)
        torch.testing.assert_close(part - part[:, :1], expected - expected[:, :1])


@pytest.mark.parametrize('most', [10, 1000])
def test_draws_are_uniform(most, monkeypatch):
    monkeypatch.setattr('hvs_mm.selection.score_table.MAX_LISTED', most)
    groups = ViewGroups([3, 4], [2, 2])
    table = ScoreTable.of(torch.rand(1500, 3, 7), groups)
    numbers = numbers_in(table.draw(4), groups)
    for numbers_drawn in (numbers.flatten(), numbers[:, 0] if most == 10 else numbers.flatten()):
        assert chisquare(numbers_drawn.bincount(minlength=18)).pvalue > 1e-3
    distinct = [len(set(row)) == 4 for row in numbers.tolist()]
    if most == 10:
        # Independent: all of them differ with a probability of 17/18 * 16/18 * 15/18.
        expected = 17 * 16 * 15 / 18**3
        assert abs(sum(distinct) / 1500 - expected) < 4 * math.sqrt(0.25 / 1500)
    else:
        assert all(distinct)
        assert numbers.equal(numbers.sort(1).values)


def test_shared_draws():
    table = table_of([3, 4], [2, 2], batch=20)
    shared, own = (table.draw(3, shared=shared) for shared in (True, False))
    for one in (shared.targets, *shared.local):
        assert (one == one[0]).all()
    assert any((one != one[0]).any() for one in (own.targets, *own.local))


def test_too_many_to_list():
    """Nothing that is needed grows with the number of combinations."""
    table = table_of([4, 40], [2, 20], batch=2)
    assert table.num_combinations == 6 * math.comb(40, 20)
    assert table.scores(table.extreme(1)).shape == (2, 1)
    assert table.draw(5).local[0].shape == (2, 5, 20)
    assert (table.moments().std > 0).all()
