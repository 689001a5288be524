"""The hue against MMCV's."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest

from hvs_mm.datasets.views.pixels import hue
from tests.helpers.pictures import IMAGES, every_image


@every_image
@pytest.mark.parametrize('shift', [-0.5, -0.2, -0.1, -0.001, 0.0, 0.05, 0.1, 0.37, 0.5])
def test_hue(name, shift):
    expected = mmcv.adjust_hue(IMAGES[name], shift, backend='pillow')
    assert np.array_equal(hue.adjust_hue(IMAGES[name], shift), expected)


def test_the_hue_of_all_colors():
    value = np.arange(256, dtype=np.uint8)
    for blue in np.split(value, 4):
        # b, g, r -> rows of b, columns of (g, r)
        cube = np.stack(np.meshgrid(blue, value, value, indexing='ij'), axis=3)
        cube = cube.reshape(len(blue) * 16, -1, 3)
        expected = mmcv.adjust_hue(cube, 0.1, backend='pillow')
        assert np.array_equal(hue.adjust_hue(cube, 0.1), expected)
