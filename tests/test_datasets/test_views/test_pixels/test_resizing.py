"""Resizing and flipping against MMCV's."""

from __future__ import annotations

import warnings

import mmcv
import numpy as np
import pytest

from hvs_mm.datasets.views.pixels import resizing
from tests.helpers.pictures import IMAGES, RNG, difference, every_image, photo


@every_image
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip(name, direction):
    flipped = resizing.flip(IMAGES[name], direction)
    assert np.array_equal(flipped, mmcv.imflip(IMAGES[name], direction))
    assert flipped.flags.c_contiguous
    assert not np.shares_memory(flipped, IMAGES[name])


#: Sizes of windows and what they are resized to: up, down, both, thin.
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (5, 7)),
    ((1, 90), (32, 32)),
    ((90, 1), (32, 32)),
    ((2, 3), (224, 224)),
    ((17, 300), (64, 48)),
    ((64, 48), (64, 48)),
    ((90, 120), (96, 96)),
    ((375, 500), (224, 224)),
    ((375, 500), (1, 1)),
    ((480, 640), (33, 65)),
]


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize(('window', 'size'), SIZES)
def test_resize(window, size, interpolation):
    for number, image in enumerate((photo(*window), RNG.integers(0, 256, (*window, 3)))):
        image = image.astype(np.uint8)
        expected = mmcv.imresize(image, size[::-1], interpolation=interpolation, backend='pillow')
        resized = resizing.resize(image, size, interpolation)
        assert resized.flags.c_contiguous
        assert resized.flags.writeable
        off = difference(resized, expected)
        # In two passes, each of which may be off by one.
        assert off.max() <= (1 if interpolation == 'bilinear' else 2), number
        assert (off > 1).mean() < 1e-3
        assert off.mean() < 0.05 or resized.size < 1000


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_resize_without_vector_instructions(interpolation, monkeypatch):
    monkeypatch.setattr(resizing, '_VECTORIZED', False)
    for window, size in SIZES:
        whole = photo(window[0] + 5, window[1] + 6)
        whole.flags.writeable = False
        image = whole[2:-3, 3:-3]
        expected = mmcv.imresize(image, size[::-1], interpolation=interpolation, backend='pillow')
        resized = resizing.resize(image, size, interpolation)
        assert np.array_equal(resized, expected)
        assert resized.flags.writeable


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_a_resized_window_does_not_see_what_is_around_it(interpolation):
    inside = photo(40, 50)
    for around in (0, 255):
        whole = np.full((80, 90, 3), around, dtype=np.uint8)
        whole[20:60, 30:80] = inside
        whole.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            window = resizing.resize(whole[20:60, 30:80], (64, 64), interpolation)
        assert np.array_equal(window, resizing.resize(inside, (64, 64), interpolation))


def test_a_resized_image_shares_nothing_with_its_original():
    image = photo(64, 64)
    resized = resizing.resize(image, (64, 64), 'bilinear')
    assert np.array_equal(resized, image)
    assert not np.shares_memory(resized, image)
