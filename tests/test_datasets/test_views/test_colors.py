"""What ``CandidateViews`` records of colors, against upstream's transforms with those values."""

from __future__ import annotations

import pickle

import mmcv
import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageFilter

from hvs_mm.datasets import CandidateViews
from hvs_mm.selection import COLOR_CHANGES
from tests.helpers.pictures import seed

JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
GRAY = dict(type='RandomGrayscale', prob=0.5, keep_channels=True, channel_weights=(0.1, 0.6, 0.3))
BLUR = dict(type='GaussianBlur', magnitude_range=(0.5, 3.0), magnitude_std='inf', prob=0.5)


def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def draw(transforms, num_views=20, **kwargs):
    """The views and by name the recorded changes."""
    seed(3)
    results = CandidateViews([transforms], num_views, **kwargs)({'img': noise()})
    assert results['view_colors'].dtype == np.float32
    assert results['view_colors'].shape == (num_views, len(COLOR_CHANGES))
    return results['img'], dict(zip(COLOR_CHANGES, results['view_colors'].T))


def only(changes, *names):
    """No other change is recorded."""
    unchanged = dict.fromkeys(('brightness', 'contrast', 'saturation'), 1.0)
    return all(
        (values == unchanged.get(name, 0)).all()
        for name, values in changes.items()
        if name not in names
    )


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation', 'hue'])
def test_a_jitter_of_one_kind(name):
    views, changes = draw([dict(type='ColorJitter', **{name: 0.3})])
    apply = {
        'brightness': mmcv.adjust_brightness,
        'contrast': mmcv.adjust_contrast,
        'saturation': lambda image, alpha, backend: mmcv.adjust_color(
            image, alpha=alpha, backend=backend
        ),
        'hue': mmcv.adjust_hue,
    }[name]
    assert only(changes, name)
    assert len(set(changes[name].tolist())) == len(views)
    for view, value in zip(views, changes[name]):
        expected = apply(noise(), float(value), backend='pillow')
        # The record is rounded to float32.
        assert np.abs(view.astype(int) - expected).max() <= 1


def test_all_four_at_random():
    pipeline = [dict(type='RandomApply', transforms=[JITTER], prob=0.5)]
    views, changes = draw(pipeline, 40)
    unchanged = np.array([np.array_equal(view, noise()) for view in views])
    assert 5 < unchanged.sum() < 35
    for name, none in (('brightness', 1), ('contrast', 1), ('saturation', 1), ('hue', 0)):
        assert ((changes[name] == none) == unchanged).all()
        limit = JITTER[name]
        assert (np.abs(changes[name] - none) <= limit + 1e-6).all()
        assert np.abs(changes[name] - none).max() > 0.8 * limit
    assert only(changes, 'brightness', 'contrast', 'saturation', 'hue')


def test_two_jitters():
    twice = [dict(type='ColorJitter', brightness=(1.5, 1.5), hue=(0.1, 0.1))] * 2
    _, changes = draw(twice, 1)
    assert changes['brightness'] == pytest.approx(2.25)
    assert changes['hue'] == pytest.approx(0.2)


def test_grayscale():
    views, changes = draw([GRAY])
    gray = [(view == view[..., :1]).all() for view in views]
    assert 3 < sum(gray) < 17
    assert changes['grayscale'].tolist() == gray
    assert only(changes, 'grayscale')


def test_blur():
    views, changes = draw([BLUR])
    assert 3 < (changes['blur'] > 0).sum() < 17
    assert only(changes, 'blur')
    for view, sigma in zip(views, changes['blur']):
        expected = Image.fromarray(noise())
        if sigma:
            assert 0.5 <= sigma <= 3
            expected = expected.filter(ImageFilter.GaussianBlur(float(sigma)))
        assert np.abs(view.astype(int) - np.asarray(expected)).max() <= 1


def test_a_fixed_blur_twice():
    _, changes = draw([dict(type='GaussianBlur', radius=1.5, prob=1.0)] * 2, 1)
    assert changes['blur'] == pytest.approx(1.5 * 2**0.5)


def test_solarize():
    views, changes = draw([dict(type='Solarize', thr=128, prob=0.5)])
    changed = [not np.array_equal(view, noise()) for view in views]
    assert 3 < sum(changed) < 17
    assert changes['solarize'].tolist() == changed
    assert only(changes, 'solarize')


def test_the_same_views_as_upstream_draws():
    pipeline = [dict(type='RandomApply', transforms=[JITTER], prob=0.8), GRAY, BLUR]
    views, _ = draw(pipeline, exact=True)
    seed(3)
    upstream = TRANSFORMS.build(dict(type='MultiView', transforms=[pipeline], num_views=20))
    for view, expected in zip(views, upstream({'img': noise()})['img']):
        assert np.array_equal(view, expected)


def test_a_worker_can_receive_it():
    transform = CandidateViews([[JITTER, GRAY, BLUR]], 2)
    seed(3)
    expected = transform({'img': noise()})['view_colors']
    seed(3)
    copied = pickle.loads(pickle.dumps(transform))({'img': noise()})['view_colors']
    assert np.array_equal(copied, expected)
