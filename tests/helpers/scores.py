"""Random problems of selection, and the scores of all combinations, one by one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from hvs_mm.selection import ScoreWeights, Selection, Selector, ViewGroups
from tests.helpers.brute_force import admissible_by_hand, score_by_hand

#: Small integers: sums are exact and ties abound.
TIES = st.integers(-3, 3).map(float)
REALS = st.floats(-100, 100)
#: Without a diagonal.
PLAIN = ScoreWeights()
NONFINITE = st.sampled_from([math.nan, math.inf, -math.inf])


@st.composite
def problems(draw, values, max_batch=3):
    """Random groups, a pair-loss tensor that fits them, and weights."""
    num_groups = draw(st.integers(1, 3))
    num_targets = draw(st.integers(1, num_groups))
    candidates = [draw(st.integers(1, 4)) for _ in range(num_groups)]
    keep = [draw(st.integers(1, n)) for n in candidates]
    if sum(keep) < 2:
        candidates[0], keep[0] = max(candidates[0], 2), 2
    groups = ViewGroups(candidates, keep, num_targets)
    shape = (draw(st.integers(1, max_batch)), groups.num_targets, groups.num_views)
    numbers = draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    weights = draw(st.sampled_from([ScoreWeights(), ScoreWeights(0.5, 2.0)]))
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape), groups, weights


def combinations_of(groups: ViewGroups) -> list[tuple[int, ...]]:
    """All combinations, in lexicographic order."""
    return admissible_by_hand(groups.candidates, groups.keep)


def scores_by_hand(pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = PLAIN) -> Tensor:
    """The scores (B, N), float64, of all combinations."""
    settings = groups.num_targets, weights.cross, weights.diagonal
    scores = [
        [score_by_hand(loss, views, *settings) for views in combinations_of(groups)]
        for loss in pair_loss.double().tolist()
    ]
    return torch.tensor(scores, dtype=torch.float64)


def numbers_of(selection: Selection) -> list[int]:
    """The number of each sample's kept combination."""
    numbers = {views: number for number, views in enumerate(combinations_of(selection.groups))}
    return [numbers[tuple(views)] for views in selection.indices.tolist()]


def check_shares(
    selector: Selector,
    pair_loss: Tensor,
    groups: ViewGroups,
    expected: Sequence[float],
    weights: ScoreWeights = PLAIN,
    draws: int = 4000,
) -> None:
    """Check by a chi-square test that a selector keeps the combinations of an image that often.

    Args:
        pair_loss: (T, S) the losses of one image.
        expected: The probability of each combination, 0 for those that must never come.
    """
    selection = selector(pair_loss.expand(draws, -1, -1), groups, weights)
    counts = Counter(numbers_of(selection))
    assert all(expected[number] > 0 for number in counts)
    # The test needs some expected draws in each cell: the unlikely combinations share one.
    likely = [number for number, share in enumerate(expected) if draws * share >= 10]
    observed = [counts[number] for number in likely]
    means = [draws * float(expected[number]) for number in likely]
    observed, means = [*observed, draws - sum(observed)], [*means, draws - sum(means)]
    if means[-1] < 1e-6 * draws:
        observed, means = observed[:-1], means[:-1]
    if len(means) > 1:
        # The first one takes the rounding, which scipy compares.
        means[0] += sum(observed) - sum(means)
        result = chisquare(observed, means)
        assert result.pvalue > 1e-3, (result, observed, means)
