"""Means and intervals against SciPy and the standard library."""

from __future__ import annotations

from statistics import mean, stdev

import numpy as np
import pytest
from scipy.stats import sem, ttest_1samp, ttest_rel

from hvs_mm.study import estimate, interval, paired_difference

RANDOM = np.random.default_rng(3)


def test_by_hand():
    assert estimate([3.0]) == (3.0, None, 1)
    # Deviations of -1, 0, 1: a variance of 1.
    assert estimate([1.0, 2.0, 3.0]) == (2.0, pytest.approx(3**-0.5), 3)
    assert interval([3.0]) == (3.0, None, 1)
    # The quantile of Student's t with 1 degree of freedom is tan(0.475 pi) = 12.706.
    assert interval([0.0, 2.0]) == (1.0, pytest.approx(12.7062, abs=1e-4), 2)
    # With 4 it is 2.776.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert interval(values).half == pytest.approx(2.77645 * (2.5 / 5) ** 0.5, rel=1e-5)


@pytest.mark.parametrize('number', [2, 3, 5, 30])
def test_against_scipy(number):
    values = RANDOM.normal(60, 5, number)
    found = estimate(values.tolist())
    assert found.mean == pytest.approx(mean(values))
    assert found.error == pytest.approx(sem(values)) == pytest.approx(stdev(values) / number**0.5)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    mid, half, _ = interval(values.tolist())
    assert (mid - half, mid + half) == pytest.approx((low, high))


def test_paired_differences_against_scipy():
    first, second = RANDOM.normal(60, 5, (2, 6))
    # In another order, and with a seed that the other one does not have.
    one = {seed: first[seed] for seed in (5, 0, 3, 1, 2, 4)} | {7: 1.0}
    other = {seed: second[seed] for seed in range(6)} | {9: 2.0, 8: 3.0}
    found = paired_difference(one, other)
    assert found.unpaired == [7, 8, 9]
    mid, half, number = found.interval
    oracle = ttest_rel(first, second).confidence_interval(0.95)
    assert number == 6
    assert (mid - half, mid + half) == pytest.approx((oracle.low, oracle.high))


def test_nothing_in_common():
    assert paired_difference({0: 1.0}, {1: 2.0}) == (None, [0, 1])
    assert paired_difference({0: 1.0}, {0: 0.5}) == ((0.5, None, 1), [])
