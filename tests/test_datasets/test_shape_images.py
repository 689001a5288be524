"""The built-in images in plain torch."""

from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.datasets import ShapesDataset
from hvs_mm.datasets.shape_images import ShapeImages


@pytest.mark.parametrize('layout', ['lattice', 'scene'])
def test_they_are_those_of_shapes_dataset(layout):
    expected = ShapesDataset('val', 12, img_size=32, layout=layout)
    images = ShapeImages('val', 12, img_size=32, layout=layout)
    assert len(images) == 12
    for (image, label), sample in zip((images[n] for n in range(12)), expected):
        # RGB instead of BGR
        assert np.array_equal(np.asarray(image)[..., ::-1], sample['img'])
        assert label == sample['gt_label']


def test_splits_differ_and_the_transform_is_applied():
    train = ShapeImages('train', 2, np.asarray, img_size=32)
    val = ShapeImages('val', 2, np.asarray, img_size=32)
    assert train[0][0].shape == (32, 32, 3)
    assert not np.array_equal(train[0][0], val[0][0])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'split': 'test'}, "split='test' must be one of"),
        ({'layout': 'grid'}, "layout='grid' must be one of"),
        ({'num_samples': 0}, 'num_samples=0 must be an integer of at least 1'),
        ({'img_size': 8}, 'img_size=8 must be an integer of at least 16'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ShapeImages(**settings)
