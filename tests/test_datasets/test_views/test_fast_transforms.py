"""The fast transforms against upstream's, which they stand for."""

from __future__ import annotations

import random
import warnings
from copy import deepcopy

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.hub import get_config
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageFilter

from hvs_mm.datasets import CandidateViews, PackViews
from hvs_mm.datasets.views import blur, colors, fast_transforms, hue, resizing
from tests.test_datasets.test_views.test_candidate_views import UPSTREAM, seed

pytestmark = pytest.mark.filterwarnings("ignore:Only use 'alpha' for pillow")

RNG = np.random.default_rng(0)


def photo(height, width, number=0):
    """Structure of all sizes, falling off as that of photographs does, in dull colors."""
    rng = np.random.default_rng(number)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing='ij'))
    spectrum = np.fft.fft2(rng.normal(size=(3, height, width))) / (frequency + 0.5 / height)
    waves = np.fft.ifft2(spectrum).real
    waves = waves / np.maximum(waves.std(axis=(1, 2), keepdims=True), 1e-6)
    luma, *chroma = waves
    planes = [128 + 55 * luma + 20 * tint for tint in (*chroma, -chroma[0])]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


#: Noise, photographs, single colors, all of them small; single pixels, rows and columns.
IMAGES = {
    'noise': RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8),
    'photo': photo(96, 128),
    'gray': np.repeat(RNG.integers(0, 256, (40, 50, 1), dtype=np.uint8), 3, axis=2),
    'black': np.zeros((9, 7, 3), dtype=np.uint8),
    'white': np.full((9, 7, 3), 255, dtype=np.uint8),
    'dark': RNG.integers(0, 4, (30, 31, 3), dtype=np.uint8),
    'extremes': RNG.choice(np.array([0, 1, 254, 255], dtype=np.uint8), (30, 31, 3)),
    'pixel': np.array([[[200, 3, 77]]], dtype=np.uint8),
    'row': RNG.integers(0, 256, (1, 4, 3), dtype=np.uint8),
    'column': RNG.integers(0, 256, (4, 1, 3), dtype=np.uint8),
    'two by two': RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8),
    'reversed': RNG.integers(0, 256, (21, 33, 3), dtype=np.uint8)[:, ::-1],
    'window': RNG.integers(0, 256, (50, 60, 3), dtype=np.uint8)[7:40, 11:50],
}
every_image = pytest.mark.parametrize('name', IMAGES)


def difference(first, second):
    assert first.shape == second.shape
    assert first.dtype == second.dtype == np.uint8
    return np.abs(first.astype(int) - second)


# --- operations ------------------------------------------------------------------------------


@every_image
@pytest.mark.parametrize('factor', [0.0, 0.2, 0.6, 0.9137, 1.0, 1.2, 1.4, 1.8, 3.7])
def test_brightness_contrast_and_saturation(name, factor):
    image = IMAGES[name]
    before = image.copy()
    expected = mmcv.adjust_brightness(image, factor, backend='pillow')
    assert np.array_equal(colors.adjust_brightness(image, factor), expected)
    expected = mmcv.adjust_contrast(image, factor, backend='pillow')
    assert np.array_equal(colors.adjust_contrast(image, factor), expected)
    expected = mmcv.adjust_color(image, factor, backend='pillow')
    off = difference(colors.adjust_saturation(image, factor), expected)
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
            (colors.adjust_brightness, mmcv.adjust_brightness),
            (colors.adjust_contrast, mmcv.adjust_contrast),
        ):
            assert np.array_equal(ours(image, factor), upstream(image, factor, backend='pillow'))
        expected = mmcv.adjust_color(image, factor, backend='pillow')
        off.append(difference(colors.adjust_saturation(image, factor), expected))
    assert np.max(off) <= 1
    assert np.mean(off) < 2e-3


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


@every_image
@pytest.mark.parametrize('weights', [(0.114, 0.587, 0.2989), (1.0, 1.0, 1.0), (1, 2, 1)])
def test_grayscale(name, weights):
    transform = dict(type='RandomGrayscale', prob=1.0, keep_channels=True, channel_weights=weights)
    expected = TRANSFORMS.build(transform)({'img': IMAGES[name]})['img']
    assert np.array_equal(colors.to_grayscale(IMAGES[name], weights), expected)


@every_image
@pytest.mark.parametrize('threshold', [0, 1, 127.5, 128, 255, 256])
def test_solarize(name, threshold):
    expected = mmcv.solarize(IMAGES[name], threshold)
    assert np.array_equal(colors.solarize(IMAGES[name], threshold), expected)


@every_image
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip(name, direction):
    flipped = resizing.flip(IMAGES[name], direction)
    assert np.array_equal(flipped, mmcv.imflip(IMAGES[name], direction))
    assert flipped.flags.c_contiguous
    assert not np.shares_memory(flipped, IMAGES[name])


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


# --- transforms ------------------------------------------------------------------------------

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
        (CROP, IMAGES['noise'].astype(np.float32)),
        (JITTER, IMAGES['noise'].astype(np.float32)),
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
        fast_transforms.FastRandomFlip(prob=1.0),
    ]
    results = {'img': IMAGES['noise'], 'gt_bboxes': np.array([[1.0, 2.0, 11.0, 22.0]])}
    expected, flipped = (flip(dict(results)) for flip in flips)
    assert np.array_equal(flipped['gt_bboxes'], expected['gt_bboxes'])
    assert np.array_equal(flipped['img'], expected['img'])


# --- whole pipelines -------------------------------------------------------------------------


def gradient_energy(view):
    """Mean square of the differences of neighbors: what a blur takes away."""
    view = view.astype(float)
    return (np.diff(view, axis=0) ** 2).mean() + (np.diff(view, axis=1) ** 2).mean()


def upstream_pipelines(name):
    cfg = get_config(f'mmpretrain::{name}')
    return [cfg[key] for key in UPSTREAM[name]]


@pytest.mark.parametrize('bicubic', [False, True])
@pytest.mark.parametrize('name', UPSTREAM)
def test_views_of_upstream_pipelines(name, bicubic):
    offs, ours_all, upstream_all = [], [], []
    for number in range(6):
        for pipeline in upstream_pipelines(name):
            pipeline = deepcopy(list(pipeline))
            pipeline[0] = {**pipeline[0], 'backend': 'pillow', 'scale': 96}
            if bicubic:
                pipeline[0]['interpolation'] = 'bicubic'
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


@pytest.mark.parametrize('name', UPSTREAM)
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


# --- packing ---------------------------------------------------------------------------------


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
