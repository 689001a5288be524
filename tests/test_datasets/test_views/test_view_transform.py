"""The ways to apply a transform, against upstream's."""

from __future__ import annotations

import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.hub import get_config
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import CandidateViews
from hvs_mm.datasets.views.geometry import RandomFlip
from tests.helpers.pictures import DISTINCT, IMAGES, UPSTREAM, difference, photo, seed

pytestmark = pytest.mark.filterwarnings("ignore:Only use 'alpha' for pillow")


CROP = dict(type='RandomResizedCrop', scale=64, backend='pillow')


JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)


GRAY = dict(type='RandomGrayscale', prob=0.5, keep_channels=True)


BLUR = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5)


#: Transforms that have a fast version, and by how much a value may differ.
COVERED = {
    'crop': (CROP, 1),
    'bicubic crop': ({**CROP, 'interpolation': 'bicubic'}, 2),
    'crop to a rectangle': ({**CROP, 'scale': (40, 70)}, 1),
    'crop of all': ({**CROP, 'crop_ratio_range': (1.0, 1.0)}, 1),
    'crop that gives up': ({**CROP, 'max_attempts': 0}, 1),
    'flip': (dict(type='RandomFlip', prob=0.5), 0),
    'flip of probability 0.3': (dict(type='RandomFlip', prob=0.3, direction='vertical'), 0),
    'no flip': (dict(type='RandomFlip', prob=0.0), 0),
    'a flip each time': (dict(type='RandomFlip', prob=1.0, direction='diagonal'), 0),
    'two directions': (
        dict(type='RandomFlip', prob=0.6, direction=['horizontal', 'vertical']),
        0,
    ),
    'all flips': (
        dict(
            type='RandomFlip',
            prob=[0.3, 0.3, 0.3],
            direction=['horizontal', 'vertical', 'diagonal'],
        ),
        0,
    ),
    'brightness': (dict(type='ColorJitter', brightness=0.4), 0),
    'contrast': (dict(type='ColorJitter', contrast=(0.2, 3.0)), 0),
    'saturation': (dict(type='ColorJitter', saturation=0.8), 1),
    'hue': (dict(type='ColorJitter', hue=0.5), 0),
    'brightness, contrast, hue': (
        dict(type='ColorJitter', brightness=0.8, contrast=0.8, hue=0.2),
        0,
    ),
    'no jitter': (dict(type='ColorJitter'), 0),
    'gray': (GRAY, 0),
    'gray of rgb': ({**GRAY, 'color_format': 'rgb'}, 0),
    'blur': (BLUR, 1),
    'solarize': (dict(type='Solarize', thr=100.5, prob=0.5), 0),
    'solarize at random': (
        dict(type='Solarize', magnitude_range=(256, 0), magnitude_std='inf', prob=0.5),
        0,
    ),
    'nested': (
        dict(
            type='RandomApply',
            prob=0.7,
            transforms=[dict(type='RandomChoice', transforms=[[GRAY], [CROP]], prob=[0.5, 0.5])],
        ),
        1,
    ),
}


#: Settings without a fast version.
UNCOVERED = {
    'crop by opencv': dict(type='RandomResizedCrop', scale=32),
    'nearest': {**CROP, 'interpolation': 'nearest'},
    'lanczos': {**CROP, 'interpolation': 'lanczos'},
    'efficientnet crop': dict(type='EfficientNetRandomCrop', scale=64, backend='pillow'),
    'padded crop': dict(type='RandomCrop', crop_size=30, padding=5),
    'resize': dict(type='Resize', scale=(20, 30), backend='pillow', interpolation='bicubic'),
    'jitter by opencv': {**JITTER, 'backend': 'cv2'},
    'gray of one channel': dict(type='RandomGrayscale', prob=0.5),
    'gray of hsv': {**GRAY, 'color_format': 'hsv'},
    'blur of a fixed radius': dict(type='GaussianBlur', radius=1.0, prob=0.5),
    'posterize': dict(type='Posterize', bits=3, prob=0.5),
}


def both(transforms, image, num_views=12, number=0, **kwargs):
    """Our views and upstream's, which must have drawn as many random numbers."""
    drawn, next_numbers = [], []
    for build in (
        lambda: CandidateViews([deepcopy(transforms)], num_views, **kwargs),
        lambda: TRANSFORMS.build(
            dict(type='MultiView', transforms=[deepcopy(transforms)], num_views=num_views)
        ),
    ):
        transform = build()
        seed(number)
        drawn.append(transform({'img': image.copy()})['img'])
        next_numbers.append((np.random.random(), random.random(), torch.rand(1).item()))
    assert next_numbers[0] == next_numbers[1]
    return drawn


@pytest.mark.parametrize('name', COVERED)
def test_covered_transforms(name):
    transform, tolerance = COVERED[name]
    offs = []
    for image in ('noise', 'photo', 'extremes', 'pixel', 'row', 'column'):
        for ours, upstream in zip(*both([transform], IMAGES[image])):
            offs.append(difference(ours, upstream).ravel())
            assert ours.flags.writeable
    off = np.concatenate(offs)
    assert off.max() <= tolerance
    assert off.mean() < 0.01


@pytest.mark.parametrize('name', UNCOVERED)
def test_uncovered_settings_are_left_to_upstream(name):
    for image in ('noise', 'photo'):
        for ours, upstream in zip(*both([UNCOVERED[name]], IMAGES[image])):
            assert np.array_equal(ours, upstream)


@pytest.mark.parametrize(
    ('image', 'transforms'),
    [
        (IMAGES['noise'][..., 0], [dict(type='RandomFlip', prob=0.5)]),
        (IMAGES['noise'][..., 0], [CROP, dict(type='RandomFlip', prob=0.5), BLUR]),
        (IMAGES['noise'][..., 0], [dict(type='Solarize', thr=99, prob=0.5)]),
        (IMAGES['noise'][..., :1], [dict(type='Solarize', thr=99, prob=0.5), GRAY]),
        (np.dstack([IMAGES['noise']] * 2)[..., :4], [CROP, dict(type='RandomFlip', prob=0.5)]),
        (IMAGES['noise'].astype(np.float32), [dict(type='RandomFlip', prob=0.5), GRAY]),
        (IMAGES['noise'].astype(np.float32), [{**JITTER, 'backend': 'cv2'}]),
        (IMAGES['noise'].astype(np.int16), [dict(type='Solarize', thr=99, prob=0.5)]),
    ],
)
def test_other_images_are_left_to_upstream(image, transforms):
    for ours, upstream in zip(*both(transforms, image)):
        assert ours.dtype == upstream.dtype
        assert np.array_equal(ours, upstream)


def test_upstream_refuses_what_it_refuses():
    for transform, image in (
        (CROP, IMAGES['noise'].astype(np.uint16)),
        (JITTER, IMAGES['noise'].astype(np.uint16)),
    ):
        with pytest.raises(AssertionError, match='Pillow backend only support uint8'):
            CandidateViews([[transform]], 1)({'img': image})
    with pytest.raises(AssertionError, match='The length of ``channel_weights``'):
        CandidateViews([[{**GRAY, 'channel_weights': (1.0, 1.0), 'prob': 1.0}]], 1)(
            {'img': IMAGES['noise']}
        )


def test_boxes_of_a_flipped_image_are_flipped_too():
    flips = [
        TRANSFORMS.build(dict(type='RandomFlip', prob=1.0)),
        RandomFlip(prob=1.0),
    ]
    results = {'img': IMAGES['noise'], 'gt_bboxes': np.array([[1.0, 2.0, 11.0, 22.0]])}
    expected, flipped = (flip(dict(results)) for flip in flips)
    assert np.array_equal(flipped['gt_bboxes'], expected['gt_bboxes'])
    assert np.array_equal(flipped['img'], expected['img'])


def gradient_energy(view):
    """Mean square of the differences of neighbors: what a blur takes away."""
    view = view.astype(float)
    return (np.diff(view, axis=0) ** 2).mean() + (np.diff(view, axis=1) ** 2).mean()


def upstream_pipelines(name):
    cfg = get_config(f'mmpretrain::{name}')
    return [cfg[key] for key in UPSTREAM[name]]


@pytest.mark.parametrize(
    ('name', 'interpolation'),
    [*((name, {}) for name in DISTINCT), (DISTINCT[0], {'interpolation': 'bicubic'})],
)
def test_views_of_upstream_pipelines(name, interpolation):
    offs, ours_all, upstream_all = [], [], []
    for number in range(6):
        for pipeline in upstream_pipelines(name):
            pipeline = deepcopy(list(pipeline))
            pipeline[0] = {**pipeline[0], 'backend': 'pillow', 'scale': 96, **interpolation}
            ours, upstream = both(pipeline, photo(150, 200, number), 5, number)
            offs += [difference(a, b).ravel() for a, b in zip(ours, upstream)]
            ours_all += ours
            upstream_all += upstream
    off = np.concatenate(offs)
    # One level after the crop may be several after the jitter, more after a solarization.
    assert (off > 0).mean() < 0.02
    assert (off > 1).mean() < 3e-3
    assert (off > 2).mean() < 1e-3
    ours, upstream = np.array(ours_all, dtype=float), np.array(upstream_all, dtype=float)
    # Per view and channel.
    assert np.abs(ours.mean(axis=(1, 2)) - upstream.mean(axis=(1, 2))).max() < 0.05
    assert np.abs(ours.std(axis=(1, 2)) - upstream.std(axis=(1, 2))).max() < 0.05
    energies = [[gradient_energy(view) for view in views] for views in (ours_all, upstream_all)]
    assert np.allclose(*energies, rtol=0.01, atol=0.05)


@pytest.mark.parametrize('name', DISTINCT)
def test_records_are_the_same_either_way(name):
    kwargs = dict(transforms=upstream_pipelines(name))
    kwargs['num_views'] = [12] * len(kwargs['transforms'])
    results = []
    for exact in (False, True):
        seed()
        results.append(CandidateViews(**kwargs, exact=exact)({'img': photo(50, 70)}))
    for key in ('view_boxes', 'view_flips', 'view_sizes', 'view_colors'):
        assert np.array_equal(results[0][key], results[1][key])
        assert results[0][key].dtype == results[1][key].dtype
        # Not the record of a view that nothing was done to.
        assert len(np.unique(results[0][key], axis=0)) > 1 or key == 'view_sizes'


def test_exact_is_exact_where_fast_is_not():
    image = photo(150, 200)
    pipeline = [{**CROP, 'interpolation': 'bicubic'}, JITTER, BLUR]
    for exact in (False, True):
        views = both(pipeline, image, exact=exact)
        equal = all(np.array_equal(ours, upstream) for ours, upstream in zip(*views))
        assert equal is exact
