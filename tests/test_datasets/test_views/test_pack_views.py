"""``PackViews`` against upstream's ``PackInputs``."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import PackInputs
from PIL import Image

from hvs_mm.datasets import PackViews
from tests.helpers.pictures import IMAGES, every_image


@every_image
def test_packed_views_are_those_that_upstream_packs(name):
    views = [IMAGES[name], cv2.flip(IMAGES[name], 0), IMAGES[name][..., 0]]
    packed, expected = (
        pack({'img': list(views)})['inputs'] for pack in (PackViews(), PackInputs())
    )
    for view, expected_view in zip(packed, expected):
        assert view.dtype == expected_view.dtype
        assert view.is_contiguous()
        assert torch.equal(view, expected_view)
    single = PackViews()({'img': IMAGES[name]})['inputs']
    assert torch.equal(single, expected[0])


def test_packing_of_other_images():
    image = IMAGES['noise'].astype(np.float32)
    assert torch.equal(PackViews.format_input(image), PackInputs.format_input(image))
    picture = Image.fromarray(IMAGES['noise'])
    assert torch.equal(PackViews.format_input([picture])[0], PackInputs.format_input(picture))
    with pytest.raises(TypeError, match='Unsupported input type'):
        PackViews.format_input('text')
