"""Subsets drawn by the product of weights, against a list of all subsets."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from scipy.stats import chisquare

from hvs_mm.selection.subset_sampling import draw_category, draw_subsets, subset_tree

SIZES = [(n, k) for n in range(1, 10) for k in range(1, n + 1)]


@pytest.mark.parametrize(('number', 'size'), SIZES)
def test_the_sum_over_all_subsets(number, size):
    log_weights = torch.randn(2, 3, number, dtype=torch.float64) * 3
    root = subset_tree(log_weights, size)[-1]
    assert root.shape[:3] == (2, 3, 1)
    for most in range(size + 1):
        subsets = torch.tensor(list(combinations(range(number), most)), dtype=torch.int64)
        expected = log_weights[..., subsets].sum(-1).logsumexp(-1)
        torch.testing.assert_close(root[..., 0, most], expected)


@pytest.mark.parametrize(('number', 'size'), [(4, 2), (5, 3), (6, 6), (7, 1), (8, 4)])
def test_the_shares_of_subsets(number, size):
    log_weights = torch.randn(number)
    # Never drawn, unless all have to be.
    log_weights[1] = -math.inf if size < number else 0
    drawn = draw_subsets(subset_tree(log_weights.expand(5000, -1), size), size)
    counts = Counter(map(tuple, drawn.tolist()))
    subsets = list(combinations(range(number), size))
    shares = log_weights[torch.tensor(subsets)].sum(1).softmax(0).double()
    assert set(counts) <= {subset for subset, share in zip(subsets, shares) if share > 0}
    likely = [position for position, share in enumerate(shares) if share * 5000 > 10]
    observed = [counts[subsets[position]] for position in likely]
    expected = 5000 * shares[likely]
    if len(likely) > 1:
        assert chisquare(observed, expected * sum(observed) / expected.sum()).pvalue > 1e-3


def test_every_tree_of_a_batch_has_its_own_weights():
    log_weights = torch.full((6, 6), -40.0)
    for row in range(6):
        log_weights[row, [row, (row + 1) % 6]] = 40.0
    drawn = draw_subsets(subset_tree(log_weights, 2), 2)
    assert drawn.tolist() == [sorted([row, (row + 1) % 6]) for row in range(6)]


def test_no_subset_to_draw():
    log_weights = torch.full((3, 5), -math.inf)
    log_weights[:, 0] = 0
    tree = subset_tree(log_weights, 2)
    assert tree[-1][:, 0, 2].tolist() == [-math.inf] * 3
    assert draw_subsets(tree, 2).shape == (3, 2)


def test_categories():
    logits = torch.tensor([0.0, -math.inf, 2.0, 1.0])
    drawn = draw_category(logits.expand(20000, 4)).bincount(minlength=4)
    shares = logits.double().softmax(0)
    assert drawn[1] == 0
    assert chisquare(drawn[shares > 0], 20000 * shares[shares > 0]).pvalue > 1e-3


def test_a_time_of_zero(monkeypatch):
    """Which torch can draw: the category that cannot come must not win by it."""
    monkeypatch.setattr(torch.Tensor, 'exponential_', lambda self: self.zero_())
    assert draw_category(torch.tensor([-math.inf, 0.0, -math.inf])).item() == 1
