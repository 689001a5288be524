"""Selectors from settings, and their dials."""

from __future__ import annotations

import math
import re

import pytest

from hvs_mm.selection import (
    EasiestSelector,
    HardestSelector,
    IoUBelowSelector,
    LargestColorDifferenceSelector,
    LowestIoUSelector,
    PerGroupSelector,
    QuantileSelector,
    RandomSelector,
    SoftenedSelector,
    build_selector,
)


@pytest.mark.parametrize(
    ('config', 'cls'),
    [
        ('hardest', HardestSelector),
        ('random', RandomSelector),
        ({'type': 'easiest'}, EasiestSelector),
        ({'type': 'HardestSelector', 'max_comparisons': 128}, HardestSelector),
        (RandomSelector(), RandomSelector),
        ('softened', SoftenedSelector),
        ({'type': 'quantile', 'quantile': 1}, QuantileSelector),
        ('per_group', PerGroupSelector),
        ('lowest_iou', LowestIoUSelector),
        ('largest_color_difference', LargestColorDifferenceSelector),
        ({'type': 'iou_below', 'threshold': 0.3}, IoUBelowSelector),
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
        ({'type': 'hardest', 'draw': 'image'}, ValueError, r"draw='image' must be one of \['batch"),
        ('quantile', TypeError, "selector='quantile' does not take {}: .*'quantile'"),
    ],
)
def test_build_wrong(config, error, message):
    with pytest.raises(error, match=message):
        build_selector(config)


@pytest.mark.parametrize(
    ('config', 'name', 'value', 'expected'),
    [
        ('softened', 'temperature', -2, -2.0),
        ({'type': 'quantile', 'quantile': 1}, 'quantile', 0.25, 0.25),
        ('hardest', 'max_comparisons', 16, 16),
        # As schedules between two numbers give it.
        ('easiest', 'max_comparisons', 12.6, 13),
    ],
)
def test_turn_a_dial(config, name, value, expected):
    selector = build_selector(config)
    selector.set_dial(name, value)
    found = getattr(selector, name)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ('config', 'name', 'value', 'message'),
    [
        ('random', 'temperature', 1, "RandomSelector has no dial 'temperature': it has none."),
        ('hardest', 'draw', 1, "HardestSelector has no dial 'draw': one of ['max_comparisons']."),
        ('hardest', 'max_comparisons', 0.2, 'max_comparisons=0 must be an integer of at least 1'),
        ('hardest', 'max_comparisons', math.nan, 'max_comparisons=nan must be an integer of'),
        ('softened', 'temperature', math.nan, 'temperature=nan must be a number'),
    ],
)
def test_a_dial_that_does_not_turn(config, name, value, message):
    with pytest.raises(ValueError, match='^' + re.escape(message)):
        build_selector(config).set_dial(name, value)
