"""The blur against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from hvs_mm.datasets.views.pixels import blur
from tests.helpers.pictures import IMAGES, difference, every_image, photo


@every_image
@pytest.mark.parametrize('sigma', [0, 0.1, 0.333, 0.777, 1.2345, 1.9, 3.21, 8.7])
def test_blur(name, sigma):
    image = np.ascontiguousarray(IMAGES[name])
    expected = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
    off = difference(blur.gaussian_blur(IMAGES[name], sigma), expected)
    assert off.max() <= 1
    assert off.mean() < 0.005 or image.size < 100


def test_random_blurs():
    off, bias = [], []
    for number, sigma in enumerate(np.random.default_rng(2).uniform(0.1, 2, 60).tolist()):
        image = photo(56, 64, number)
        expected = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))
        blurred = blur.gaussian_blur(image, sigma)
        off.append(difference(blurred, expected))
        bias.append(blurred.astype(float).mean() - expected.mean())
    assert np.max(off) <= 1
    assert np.mean(off) < 1e-3
    assert np.abs(bias).max() < 1e-2


@pytest.mark.parametrize('sigma', [0.05, 0.4, 1.0, 1.41, 2.5, 6.0])
def test_the_kernel_has_the_variance_of_the_gaussian(sigma):
    kernel = blur.box_kernel(sigma).astype(float)
    place = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert (kernel * place**2).sum() == pytest.approx(sigma**2 / 3, rel=1e-4)
    assert (kernel >= 0).all()
    assert np.array_equal(kernel, kernel[::-1])
