"""Jitter, grayscale and solarization against MMCV's."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets.views.pixels import color_tables
from tests.helpers.pictures import IMAGES, difference, every_image, photo

pytestmark = pytest.mark.filterwarnings("ignore:Only use 'alpha' for pillow")


@every_image
@pytest.mark.parametrize('factor', [0.0, 0.2, 0.6, 0.9137, 1.0, 1.2, 1.4, 1.8, 3.7])
def test_brightness_contrast_and_saturation(name, factor):
    image = IMAGES[name]
    before = image.copy()
    expected = mmcv.adjust_brightness(image, factor, backend='pillow')
    assert np.array_equal(color_tables.adjust_brightness(image, factor), expected)
    expected = mmcv.adjust_contrast(image, factor, backend='pillow')
    assert np.array_equal(color_tables.adjust_contrast(image, factor), expected)
    expected = mmcv.adjust_color(image, factor, backend='pillow')
    off = difference(color_tables.adjust_saturation(image, factor), expected)
    assert off.max() <= 1
    # More of them with such round numbers than with random ones.
    assert off.mean() < 0.05 or image.size < 100
    assert np.array_equal(image, before)


def test_random_factors():
    """Over many of them, hardly a saturation is off, and none of the others."""
    off = []
    for number, factor in enumerate(np.random.default_rng(1).uniform(0, 2, 60)):
        image = photo(40, 56, number)
        for ours, upstream in (
            (color_tables.adjust_brightness, mmcv.adjust_brightness),
            (color_tables.adjust_contrast, mmcv.adjust_contrast),
        ):
            assert np.array_equal(ours(image, factor), upstream(image, factor, backend='pillow'))
        expected = mmcv.adjust_color(image, factor, backend='pillow')
        off.append(difference(color_tables.adjust_saturation(image, factor), expected))
    assert np.max(off) <= 1
    assert np.mean(off) < 2e-3


@every_image
@pytest.mark.parametrize('weights', [(0.114, 0.587, 0.2989), (1.0, 1.0, 1.0), (1, 2, 1)])
def test_grayscale(name, weights):
    transform = dict(type='RandomGrayscale', prob=1.0, keep_channels=True, channel_weights=weights)
    expected = TRANSFORMS.build(transform)({'img': IMAGES[name]})['img']
    shares = np.array(weights) / sum(weights)
    assert np.array_equal(color_tables.to_grayscale(IMAGES[name], *shares), expected)


@every_image
@pytest.mark.parametrize('threshold', [0, 1, 127.5, 128, 255, 256])
def test_solarize(name, threshold):
    expected = mmcv.solarize(IMAGES[name], threshold)
    assert np.array_equal(color_tables.solarize(IMAGES[name], threshold), expected)
