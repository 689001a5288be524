"""Operations on images of any channels, against Pillow's on single ones in floating point."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hvs_mm.datasets.views.pixels import channels
from hvs_mm.datasets.views.pixels.resizing import INTERPOLATIONS
from tests.helpers.channel_images import noise

IMAGE = noise(5, size=(37, 53)).astype(np.float32)


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
@pytest.mark.parametrize('size', [(16, 20), (80, 61), (37, 53)])
def test_resizing(interpolation, size):
    found = channels.resize_channels(IMAGE, size, interpolation)
    assert found.flags.c_contiguous
    for number in range(5):
        one = Image.fromarray(IMAGE[..., number])
        expected = np.array(one.resize(size[::-1], INTERPOLATIONS[interpolation]))
        np.testing.assert_allclose(found[..., number], expected, rtol=1e-4, atol=0.2)


@pytest.mark.parametrize('number', [1, 5, 13])
def test_blur(number):
    image = np.zeros((41, 43, number), np.float32)
    image[20, 21] = np.arange(1, number + 1)
    blurred = channels.gaussian_blur(image, 1.5)
    assert blurred.shape == image.shape
    np.testing.assert_allclose(blurred.sum(axis=(0, 1)), image[20, 21], rtol=1e-5)
    rows = (np.arange(41) - 20) ** 2
    variance = (blurred[..., -1].sum(axis=1) * rows).sum() / number
    assert variance == pytest.approx(1.5**2, rel=0.02)
    assert channels.gaussian_blur(image, 0) is image


def test_brightness_and_contrast():
    np.testing.assert_allclose(channels.adjust_brightness(IMAGE, 1.3), IMAGE * 1.3, rtol=1e-6)
    found = channels.adjust_contrast(IMAGE, 0.4)
    mean = IMAGE.mean(axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(found, mean + 0.4 * (IMAGE - mean), rtol=1e-5)
    assert found.dtype == np.float32
