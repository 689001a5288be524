"""Means over seeds, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

#: Of all intervals.
LEVEL = 0.95


class Estimate(NamedTuple):
    """A mean.

    Attributes:
        mean: Of the values.
        error: Its standard error; ``None`` for a single value.
        number: How many values.
    """

    mean: float
    error: float | None
    number: int


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval.

    Attributes:
        mean: Of the values.
        half: Half the width of the interval; ``None`` for a single value.
        number: How many values.
    """

    mean: float
    half: float | None
    number: int


class Difference(NamedTuple):
    """Of two arms, seed by seed.

    Attributes:
        interval: Of the first minus the second, over the seeds of both; ``None`` without any.
        unpaired: Seeds that only one of them has.
    """

    interval: Interval | None
    unpaired: list[int]


def check_estimates() -> None:
    """Check that intervals can be computed.

    Raises:
        ImportError: If SciPy is not installed.
    """
    if find_spec('scipy') is None:
        raise ImportError(
            'SciPy is not installed, which has the quantiles of Student\'s t: run "pip install '
            'scikit-learn", which brings it.'
        )


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error of independent values.

    Args:
        values: At least one.
    """
    number = len(values)
    error = stdev(values) / sqrt(number) if number > 1 else None
    return Estimate(fmean(values), error, number)


def interval(values: Sequence[float]) -> Interval:
    """Mean of independent values and its 95 % confidence interval, after Student.

    Args:
        values: At least one.

    Raises:
        ImportError: If SciPy is not installed.
    """
    mean, error, number = estimate(values)
    if error is None:
        return Interval(mean, None, number)
    check_estimates()
    from scipy.stats import t

    return Interval(mean, float(t.ppf((1 + LEVEL) / 2, number - 1)) * error, number)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """What the first is above the second, seed by seed.

    Runs of one seed start from the same weights and see the same images in the same order. What
    these decide is in both and drops out; what the views decide is not and does not. Where that is
    nearly all, pairs are worth no more than two samples, and have half the degrees of freedom.

    Args:
        first: Values by seed.
        second: Likewise.
    """
    common = sorted(first.keys() & second.keys())
    unpaired = sorted(first.keys() ^ second.keys())
    if not common:
        return Difference(None, unpaired)
    return Difference(interval([first[seed] - second[seed] for seed in common]), unpaired)
