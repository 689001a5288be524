"""Boxes of crops in batches, against upstream's ``RandomResizedCrop``."""

from __future__ import annotations

import numpy as np
import pytest
from mmpretrain.datasets.transforms import RandomResizedCrop
from scipy.stats import ks_2samp

from hvs_study.fast.crops import draw_boxes

BOXES = 2000


def upstream_boxes(crop: RandomResizedCrop, height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    np.random.seed(0)
    drawn = np.array([crop.rand_crop_params(image) for _ in range(BOXES)])
    y, x, h, w = drawn.T
    return np.stack([x, y, x + w, y + h], axis=1)


@pytest.mark.parametrize(
    ('size', 'settings'),
    [
        ((64, 64), dict(crop_ratio_range=(0.2, 0.5))),
        ((32, 32), dict(crop_ratio_range=(0.08, 1.0))),
        # Many attempts fail, and some boxes fall back to the center.
        ((40, 100), dict(crop_ratio_range=(0.3, 0.6), max_attempts=2)),
        ((100, 40), dict(crop_ratio_range=(0.3, 0.6), max_attempts=2)),
    ],
)
def test_boxes_have_the_distribution_of_upstream(size, settings):
    crop = RandomResizedCrop(scale=8, **settings)
    found = draw_boxes(crop, *size, BOXES, np.random.default_rng(0))
    wanted = upstream_boxes(crop, *size)
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] <= size[::-1]).all()
    for column in range(4):
        assert ks_2samp(found[:, column], wanted[:, column]).pvalue > 0.01
    for extents in (lambda b: b[:, 2] - b[:, 0], lambda b: b[:, 3] - b[:, 1]):
        assert ks_2samp(extents(found), extents(wanted)).pvalue > 0.01
    # Boxes of an image are independent: neighbors in the list do not resemble each other.
    areas = (found[:, 2:] - found[:, :2]).prod(1)
    assert abs(np.corrcoef(areas[1:], areas[:-1])[0, 1]) < 0.1


@pytest.mark.parametrize('size', [(10, 100), (100, 10), (50, 50)])
def test_without_an_attempt_boxes_are_upstream_s_center(size):
    crop = RandomResizedCrop(scale=8, max_attempts=1, crop_ratio_range=(4.0, 5.0))
    found = draw_boxes(crop, *size, 3, np.random.default_rng(0))
    assert (found == upstream_boxes(crop, *size)[0]).all()
