"""Changes of color that are drawn in batches, against those that ``CandidateViews`` draws."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from mmcv.transforms import RandomApply
from scipy.stats import chisquare, ks_2samp

from hvs_mm.datasets import CandidateViews
from hvs_mm.datasets.views.colors import OPERATIONS_KEY, colors_after
from hvs_mm.utils.photometry_operations import OPERATIONS, pack_operations
from hvs_study.fast.colors import colors_of, draw_operations
from hvs_study.schema import StudyError

VIEWS = 3000
JITTER = dict(type='ColorJitter', brightness=0.4, contrast=(0.5, 1.2), saturation=0.2, hue=0.1)
GRAY = dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(1, 2, 5))
BLUR = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.3)
#: All kinds of transforms, and of strengths.
COLORS = [
    dict(type='RandomApply', transforms=[JITTER], prob=0.8),
    GRAY,
    BLUR,
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std=3.0, prob=0.5),
    dict(type='Solarize', thr=100, prob=0.4),
    dict(type='ColorJitter', hue=0.5),
]


def built(colors: list[dict[str, Any]]) -> list[Any]:
    return CandidateViews([colors], 1, photometry='device').pipelines[0].transforms


def drawn_by_views(transforms: list[Any]) -> np.ndarray:
    """The operations that the transforms record, (VIEWS, K, 4)."""
    np.random.seed(1)
    views = []
    for _ in range(VIEWS):
        results = {'img': None, OPERATIONS_KEY: []}
        for transform in transforms:
            results = transform(results)
        views.append(results[OPERATIONS_KEY])
    return pack_operations(views)


def sequences(operations: np.ndarray) -> list[tuple[float, ...]]:
    """The codes of each view, without gaps."""
    return [tuple(codes[codes > 0]) for codes in operations[..., 0]]


@pytest.fixture(scope='module')
def both(_package):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        transforms = built(COLORS)
    found = draw_operations(transforms, VIEWS, np.random.default_rng(0))
    return found, drawn_by_views(transforms)


def test_operations_come_in_the_same_orders_equally_often(both):
    found, wanted = (Counter(sequences(one)) for one in both)
    # Rare sequences have too few views for the test.
    common = [key for key, number in wanted.items() if number >= 8]
    assert len(common) > 40
    assert sum(found[key] for key in common) > 0.7 * VIEWS
    expected = np.array([wanted[key] for key in common], float)
    observed = np.array([found[key] for key in common], float)
    # Both are random: the variances add up.
    statistic = ((observed - expected) ** 2 / (observed + expected)).sum()
    uniform = np.full(len(common), statistic / len(common))
    assert chisquare(uniform, np.ones(len(common)), sum_check=False).pvalue > 0.01


@pytest.mark.parametrize('name', OPERATIONS)
def test_strengths_have_the_distribution_of_the_transforms(both, name):
    code = OPERATIONS.index(name) + 1
    found, wanted = (one[one[..., 0] == code] for one in both)
    assert len(found) == pytest.approx(len(wanted), rel=0.15)
    for column in (1, 2, 3):
        assert ks_2samp(found[:, column], wanted[:, column]).pvalue > 0.01
    if name == 'grayscale':
        assert np.allclose(found[:, 1:], np.array([1, 2, 5]) / 8)


def test_the_records_of_colors_are_those_of_the_loader(both):
    for operations in both:
        wanted = [
            colors_after([(OPERATIONS[int(code) - 1], *values) for code, *values in view if code])
            for view in operations
        ]
        np.testing.assert_allclose(colors_of(operations), wanted, rtol=1e-5, atol=1e-6)


def test_what_random_apply_leaves_out_is_left_out_together():
    (apply,) = built(
        [dict(type='RandomApply', transforms=[JITTER, dict(GRAY, prob=1.0)], prob=0.5)]
    )
    assert isinstance(apply, RandomApply)
    drawn = draw_operations([apply], 400, np.random.default_rng(0))
    numbers = (drawn[..., 0] > 0).sum(1)
    assert set(numbers) == {0, 5}
    assert 150 < (numbers == 5).sum() < 250


def test_other_transforms_are_rejected_by_name():
    equalize = dict(type='Equalize', prob=0.5)
    transforms = CandidateViews([[equalize]], 1).pipelines[0].transforms
    with pytest.raises(StudyError, match="engine='fast' cannot draw Equalize in batches"):
        draw_operations(transforms, 2, np.random.default_rng(0))
