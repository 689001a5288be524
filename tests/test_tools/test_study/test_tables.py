"""Means and intervals against SciPy and the standard library."""

from __future__ import annotations

from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from scipy.stats import sem, ttest_1samp, ttest_rel

from hvs_study.tables import interval, mean_text, paired_difference

RANDOM = np.random.default_rng(3)


def series(*values: float) -> pd.Series:
    return pd.Series(values, dtype=float)


def test_by_hand():
    assert mean_text(series()) == '-'
    assert mean_text(series(3.0, None)) == '3.00'
    # Deviations of -1, 0, 1: a variance of 1.
    assert mean_text(series(1.0, 2.0, 3.0)) == f'2.00 ± {3**-0.5:.2f}'
    center, half = interval(series(3.0))
    assert center == 3.0
    assert np.isnan(half)
    # The quantile of Student's t with 1 degree of freedom is tan(0.475 pi) = 12.706.
    assert interval(series(0.0, 2.0)) == (1.0, pytest.approx(12.7062, abs=1e-4))
    # With 4 it is 2.776.
    _, half = interval(series(1.0, 2.0, 3.0, 4.0, 5.0))
    assert half == pytest.approx(2.77645 * (2.5 / 5) ** 0.5, rel=1e-5)


@pytest.mark.parametrize('number', [2, 3, 5, 30])
def test_against_scipy(number):
    values = RANDOM.normal(60, 5, number)
    assert sem(values) == pytest.approx(stdev(values) / number**0.5)
    assert mean_text(pd.Series(values), 3) == f'{mean(values):.3f} ± {sem(values):.3f}'
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    center, half = interval(pd.Series(values))
    assert center == pytest.approx(mean(values))
    assert (center - half, center + half) == pytest.approx((low, high))


def test_paired_differences_against_scipy():
    first, second = RANDOM.normal(60, 5, (2, 6))
    # In another order, with a seed that the other one does not have, and one without a value.
    one = {seed: first[seed] for seed in (5, 0, 3, 1, 2, 4)} | {7: 1.0, 10: None}
    other = {seed: second[seed] for seed in range(6)} | {9: 2.0, 8: 3.0}
    found, unpaired = paired_difference(pd.Series(one, dtype=float), pd.Series(other))
    assert unpaired == [7, 8, 9]
    center, half = interval(found)
    oracle = ttest_rel(first, second).confidence_interval(0.95)
    assert found.sort_index().tolist() == pytest.approx((first - second).tolist())
    assert (center - half, center + half) == pytest.approx((oracle.low, oracle.high))


def test_nothing_in_common():
    found, unpaired = paired_difference(pd.Series({0: 1.0}), pd.Series({1: 2.0}))
    assert (found.tolist(), unpaired) == ([], [0, 1])
    found, unpaired = paired_difference(pd.Series({0: 1.0}), pd.Series({0: 0.5}))
    assert (found.tolist(), unpaired) == ([0.5], [])
