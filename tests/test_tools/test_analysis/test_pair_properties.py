"""``tools/analysis/_pair_properties.py``: properties of pairs and their importance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from hvs_mm.selection.statistics.color import UNCHANGED_COLORS
from hvs_mm.selection.statistics.geometry import pair_ious
from tests.helpers.tools import load_tool

module = load_tool('analysis/_pair_properties')
correlate, pair_properties = module.correlate, module.pair_properties
rank_importance = module.rank_importance
varying, within_images = module.varying, module.within_images

PAIRS = list(combinations(range(4), 2))


def views(number=60):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(number, 4, 2, generator=generator) * 20
    size = 20 + torch.rand(number, 4, 2, generator=generator) * 20
    colors = torch.tensor([*UNCHANGED_COLORS.values()]).repeat(number, 4, 1)
    colors[..., :2] += torch.rand(number, 4, 2, generator=generator) - 0.5
    flips = torch.rand(number, 4, 2, generator=generator) < 0.5
    return torch.cat([corner, corner + size], -1), flips, colors


def test_properties_by_hand():
    boxes, flips, colors = views(3)
    found = pair_properties(boxes, flips, colors, PAIRS)
    # Nothing but brightness and contrast was changed.
    assert set(varying(found)) == {
        'iou', 'center_distance', 'area_ratio', 'mirrored', 'area',
        'brightness_difference', 'brightness_strength', 'contrast_difference', 'contrast_strength',
    }  # fmt: skip
    assert np.array_equal(found['iou'], pair_ious(boxes, PAIRS).numpy())
    for column, (a, b) in enumerate(PAIRS):
        for sample in range(3):
            expected = abs(colors[sample, a, 0] - colors[sample, b, 0]).item()
            assert found['brightness_difference'][sample, column] == pytest.approx(
                expected, abs=1e-6
            )
            changes = [abs(colors[sample, view, 0].item() - 1) for view in (a, b)]
            assert found['brightness_strength'][sample, column] == pytest.approx(
                sum(changes) / 2, abs=1e-6
            )
            sides = [boxes[sample, view, 2:] - boxes[sample, view, :2] for view in (a, b)]
            assert found['area'][sample, column] == pytest.approx(
                sum(side.prod().log().item() for side in sides) / 2, abs=1e-5
            )


def test_within_images():
    values = np.array([[1.0, 3.0], [10.0, 14.0]])
    assert within_images(values).tolist() == [[-1, 1], [-2, 2]]


def test_correlation_against_scipy():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(40, 6))
    second = first + generator.normal(size=(40, 6))
    found = correlate(first, second)
    assert found.value == pytest.approx(pearsonr(first.ravel(), second.ravel()).statistic)
    assert 0.6 < found.low < found.value < found.high < 0.8
    assert correlate(first, second) == found


def test_the_interval_counts_images_not_pairs():
    """Six copies of one pair are one observation."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 40, 1))
    single = correlate(first, second)
    copied = correlate(first.repeat(6, axis=1), second.repeat(6, axis=1))
    assert copied.value == pytest.approx(single.value)
    assert copied.high - copied.low == pytest.approx(single.high - single.low, rel=0.01)


def test_what_makes_the_loss_is_ranked_first():
    properties = varying(pair_properties(*views(200), PAIRS))
    noise = np.random.default_rng(0).normal(size=(200, 6))
    # Each image has a level of its own, which selection does not see.
    level = 10 * np.random.default_rng(1).normal(size=(200, 1))
    loss = level - properties['iou'] + 0.5 * properties['contrast_difference'] + 0.01 * noise
    r2, ranking = rank_importance(properties, loss)
    assert r2 > 0.8
    assert [item.name for item in ranking[:2]] == ['iou', 'contrast_difference']
    assert ranking[1].mean > 3 * ranking[2].mean
    # Not how two views differ, but how strongly both were changed.
    _, ranking = rank_importance(properties, properties['brightness_strength'] + 0.01 * noise)
    assert ranking[0].name == 'brightness_strength'
    # A weak effect is found: large trees would predict worse than the mean.
    r2, ranking = rank_importance(properties, -properties['iou'] + 0.4 * noise)
    assert r2 > 0
    assert ranking[0].name == 'iou'
    r2, ranking = rank_importance(properties, noise)
    assert r2 < 0.05


def test_too_few_images():
    properties = pair_properties(*views(10), PAIRS)
    with pytest.raises(ValueError, match='10 images are too few'):
        rank_importance(properties, properties['iou'])


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    properties = pair_properties(*views(), PAIRS)
    with pytest.raises(ImportError, match='run "pip install scikit-learn"'):
        rank_importance(properties, properties['iou'])
