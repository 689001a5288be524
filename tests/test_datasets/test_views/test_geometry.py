"""Recorded boxes and flips, against pixels that tell their place."""

from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.datasets import CandidateViews
from tests.helpers.pictures import seed


def image(height=90, width=120):
    """Every pixel tells its place: channel 0 its x, channel 1 its y."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.full_like(x, 128)], axis=2).astype(np.uint8)


def draw(transforms, num_views=1, img=None, number=0):
    seed(number)
    return CandidateViews(transforms=[transforms], num_views=num_views)(
        {'img': image() if img is None else img}
    )


#: Pipelines that move pixels, and by how many pixels of the original interpolation may blur them.
PIPELINES = {
    'resized crop': [dict(type='RandomResizedCrop', scale=64)],
    'crop, flip': [
        dict(type='RandomResizedCrop', scale=(48, 64)),
        dict(type='RandomFlip', prob=0.5, direction='vertical'),
    ],
    'flip, crop': [
        dict(
            type='RandomFlip',
            prob=[0.3, 0.3, 0.3],
            direction=['horizontal', 'vertical', 'diagonal'],
        ),
        dict(type='RandomResizedCrop', scale=64),
    ],
    'resize, crop': [
        dict(type='Resize', scale=(200, 100)),
        dict(type='RandomResizedCrop', scale=64),
        dict(type='RandomFlip', prob=0.5),
    ],
    'short edge, center crop': [
        dict(type='ResizeEdge', scale=64, edge='short'),
        dict(type='CenterCrop', crop_size=51),
    ],
    'crop twice': [
        dict(type='RandomResizedCrop', scale=80),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCrop', crop_size=41),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Resize', scale=60),
    ],
    'efficientnet': [dict(type='EfficientNetRandomCrop', scale=64)],
    'sometimes': [
        dict(
            type='RandomApply',
            prob=0.5,
            transforms=[dict(type='CenterCrop', crop_size=60), dict(type='RandomFlip', prob=1.0)],
        ),
        dict(type='Resize', scale=64),
    ],
    'nothing': [],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_boxes_and_flips_say_where_the_pixels_come_from(name):
    """Cut the recorded box out of the original, flip and resize it: the same view."""
    original = image()
    results = draw(PIPELINES[name], num_views=40)
    seen_flips = set()
    for view, box, flips, size in zip(
        results['img'], results['view_boxes'], results['view_flips'], results['view_sizes']
    ):
        assert view.shape[:2] == tuple(size)
        # The x and y that the pixel centers of the view should show.
        x = box[0] + (np.arange(size[1]) + 0.5) * (box[2] - box[0]) / size[1] - 0.5
        y = box[1] + (np.arange(size[0]) + 0.5) * (box[3] - box[1]) / size[0] - 0.5
        x, y = (x[::-1] if flips[0] else x), (y[::-1] if flips[1] else y)
        x = np.clip(x, box[0], box[2] - 1)
        y = np.clip(y, box[1], box[3] - 1)
        assert np.abs(view[..., 0] - x[None, :]).max() <= 1.6
        assert np.abs(view[..., 1] - y[:, None]).max() <= 1.6
        assert box[0] >= 0
        assert box[2] <= original.shape[1]
        seen_flips.add(tuple(flips))
    if 'flip' in name:
        assert len(seen_flips) > 1


def test_boxes_of_padded_crops_reach_beyond_the_image():
    results = draw([dict(type='RandomCrop', crop_size=100, padding=(4, 6))], num_views=30)
    inside = 0
    for view, box in zip(results['img'], results['view_boxes']):
        left, top, right, bottom = box.astype(int)
        assert (right - left, bottom - top) == (100, 100)
        shown = image()[max(top, 0) : bottom, max(left, 0) : right]
        row, column = max(-top, 0), max(-left, 0)
        assert np.array_equal(
            view[row : row + shown.shape[0], column : column + shown.shape[1]], shown
        )
        inside += top >= 0
    assert 0 <= inside < 30


def test_padding_of_each_side():
    crop = dict(type='RandomCrop', crop_size=90, padding=(1, 2, 3, 4))
    for view, box in zip(*(draw([crop], 20)[key] for key in ('img', 'view_boxes'))):
        left, top = box[:2].astype(int)
        assert -1 <= left <= 33
        assert -2 <= top <= 4
        shown = image()[max(top, 0) : top + 90, max(left, 0) : left + 90]
        row, column = max(-top, 0), max(-left, 0)
        height, width = shown.shape[:2]
        assert np.array_equal(view[row : row + height, column : column + width], shown)


def test_pad_if_needed():
    crop = dict(type='RandomCrop', crop_size=(101, 50), pad_if_needed=True)
    for view, box in zip(*(draw([crop], 20)[key] for key in ('img', 'view_boxes'))):
        left, top = box[:2].astype(int)
        assert -6 <= top <= -5
        assert np.array_equal(view[-top : 90 - top], image()[:, left : left + 50])


def test_center_crop_beyond_the_image():
    clipped = draw([dict(type='CenterCrop', crop_size=100)])
    assert clipped['view_boxes'].tolist() == [[10, 0, 110, 90]]
    padded = draw([dict(type='CenterCrop', crop_size=100, auto_pad=True)])
    assert padded['view_boxes'].tolist() == [[10, 0, 110, 100]]
