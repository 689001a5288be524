"""``CandidateViews(photometry='device_views')``: the draws of the loader, and its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.hub import get_config

from hvs_mm.datasets import BlockMasks, CandidateViews, PackViews, join_images
from hvs_mm.models.photometry.device_photometry import finish_views
from tests.helpers.pictures import DISTINCT, UPSTREAM, photo, seed

CROP = dict(type='RandomResizedCrop', scale=32, backend='pillow')
FLIP = dict(type='RandomFlip', prob=0.5)
BOTH = dict(
    type='RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']
)
JITTER = dict(type='ColorJitter', brightness=0.4)


def draw(transforms, images, photometry, counts=4, number=0):
    """Packed samples of some images, and a number drawn after them."""
    seed(number)
    views = CandidateViews(transforms, counts, photometry=photometry)
    samples = [PackViews()(views({'img': image})) for image in images]
    return samples, np.random.rand()


def levels_apart(transforms, images, counts=4):
    """By how many of 255 levels the device's views differ from the loader's, (n,) int16."""
    loader, device = (
        draw(transforms, images, place, counts)[0] for place in ('loader', 'device_views')
    )
    batch = join_images(device)
    views = finish_views(batch['inputs'], batch['data_samples'])
    gaps = []
    for number, sample in enumerate(loader):
        for view, wanted in zip(views, sample['inputs']):
            assert view.dtype == torch.uint8
            gaps.append((view[number].short() - wanted.short()).abs().flatten())
    return torch.cat(gaps)


@pytest.mark.parametrize('name', DISTINCT)
def test_the_same_draws_as_in_the_loader(name):
    cfg = get_config(f'mmpretrain::{name}')
    pipelines = [cfg[key] for key in UPSTREAM[name]]
    (loader, after), (device, same) = (
        draw(pipelines, [photo(200, 240)], place, [3] * len(pipelines))
        for place in ('loader', 'device_views')
    )
    assert after == same
    for key in ('boxes', 'flips', 'sizes', 'colors'):
        wanted, found = (of[0]['data_samples'].get(f'view_{key}') for of in (loader, device))
        assert np.array_equal(wanted, found)
    assert device[0]['data_samples'].view_crops.shape == (3 * len(pipelines), 11)
    (pixels,) = device[0]['inputs']
    assert pixels.numpy().tobytes() == photo(200, 240).tobytes()


@pytest.mark.parametrize('position', [0, 1, 2])
@pytest.mark.parametrize(
    ('backend', 'interpolation'),
    [('pillow', 'bilinear'), ('pillow', 'bicubic'), ('cv2', 'bilinear')],
)
def test_pixels_are_those_of_the_loader(backend, interpolation, position):
    """With the flip before and after the crop, to smaller and to larger views."""
    images = [photo(96, 128), photo(128, 96, 1), photo(60, 300, 2)]
    small, large = (
        [dict(type='RandomResizedCrop', scale=side, backend=backend, interpolation=interpolation)]
        for side in (24, 200)
    )
    for pipeline in (small, large):
        pipeline.insert(position % 2, BOTH if position == 2 else FLIP)
    gaps = levels_apart([small, large], images, [4, 2])
    assert gaps.max() <= 2
    assert (gaps > 1).float().mean() < 1e-3
    # OpenCV rounds its weights.
    assert gaps.float().mean() < (0.2 if backend == 'cv2' else 0.1)


def test_large_images_are_shrunk():
    images = [photo(80, 3000), photo(500, 1100, 1)]
    (first, second), _ = draw([[CROP]], images, 'device_views')
    assert first['data_samples'].view_crops[0, -2:].tolist() == [27, 1024]
    assert len(second['inputs'][0]) == 3 * 465 * 1024
    # A crop reads pixels that were averaged before.
    assert levels_apart([[CROP]], images[1:]).float().mean() < 3


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (3000, 10), (9, 6000)])
def test_extreme_shapes(size):
    gaps = levels_apart([[CROP, FLIP]], [np.full((*size, 3), 77, np.uint8)])
    assert gaps.max() == 0


def test_masks_are_those_of_the_loader():
    masks = []
    for place in ('loader', 'device_views'):
        seed(2)
        drawn = CandidateViews([[CROP, FLIP]], 2, photometry=place)({'img': photo(60, 70)})
        seed(5)
        masks.append(BlockMasks(patch_size=8)(drawn)['view_masks'])
    assert masks[0].shape == (2, 4, 4)
    assert np.array_equal(*masks)


def test_images_of_the_data_set_stay_as_they_are():
    image = photo(40, 50)
    image.flags.writeable = False
    (sample,), _ = draw([[CROP, FLIP]], [image], 'device_views')
    assert sample['inputs'][0].numpy().tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ('transforms', 'message'),
    [
        ([dict(type='RandomCrop', crop_size=8), FLIP], "cannot do RandomCrop.*photometry='device'"),
        ([dict(type='Resize', scale=8), CROP], 'cannot do Resize'),
        ([FLIP, JITTER], 'RandomResizedCrop 0 times'),
        ([CROP, CROP], 'RandomResizedCrop 2 times'),
        ([dict(type='RandomApply', transforms=[CROP])], '1 times, 1 of them inside of other'),
        ([{**CROP, 'interpolation': 'lanczos'}], "interpolation='lanczos'.*pillow/bicubic"),
        ([{**CROP, 'backend': 'cv2', 'interpolation': 'bicubic'}], "backend='cv2' and .*'bicubic'"),
        ([CROP, dict(type='Posterize', bits=4)], "='device_views' in.*cannot do Posterize"),
    ],
)
def test_what_the_device_cannot_do(transforms, message):
    with pytest.raises(ValueError, match=message):
        CandidateViews([transforms], 1, photometry='device_views')


def test_settings_and_images_that_do_not_fit():
    with pytest.raises(ValueError, match=r'exact=True computes.*leave exact out'):
        CandidateViews([[CROP]], 1, photometry='device_views', exact=True)
    views = CandidateViews([[CROP]], 1, photometry='device_views')
    for image in (np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8)):
        with pytest.raises(
            ValueError, match=r"8-bit images with 3 channels.*set photometry='loader'"
        ):
            views({'img': image})


def test_other_samples_are_stacked():
    samples, _ = draw([[CROP]], [photo(40, 50), photo(50, 40)], 'loader')
    assert [tuple(view.shape) for view in join_images(samples)['inputs']] == [(2, 3, 32, 32)] * 4
