"""Candidate views of images that are not 8-bit RGB."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hvs_mm.datasets import CandidateViews, LoadChannels, PackViews, ResizeEdgeOfChannels
from hvs_mm.datasets.views import colors, geometry
from hvs_mm.datasets.views.pixels.channels import resize_channels
from hvs_mm.models import ChannelPreprocessor
from hvs_mm.utils.state_guard import own_random_numbers
from tests.helpers.channel_images import noise, write

CROP = dict(type='RandomResizedCrop', scale=24, backend='pillow')
FLIP = dict(type='RandomFlip', prob=0.5)
JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4)
BLUR = dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5)
SOME = dict(type='RandomApply', transforms=[JITTER], prob=0.8)


def draw(image, steps, number=8, **settings):
    with own_random_numbers(0):
        return CandidateViews([steps], [number], **settings).transform({'img': image})


@pytest.mark.parametrize('channels', [1, 4, 13])
@pytest.mark.parametrize('exact', [False, True])
def test_crops_and_flips_are_where_they_are_said_to_be(channels, exact):
    image = noise(channels, size=(61, 70)).astype(np.float32)
    results = draw(image, [CROP, FLIP], exact=exact)
    assert 0 < results['view_flips'][:, 0].sum() < 8
    for view, box, (flipped, _) in zip(
        results['img'], results['view_boxes'].astype(int), results['view_flips']
    ):
        left, top, right, bottom = box
        expected = resize_channels(image[top:bottom, left:right], (24, 24), 'bilinear')
        np.testing.assert_array_equal(view[:, ::-1] if flipped else view, expected)


def test_the_same_random_numbers_as_for_rgb():
    image = noise(3, 8, (61, 70))
    of_bytes = draw(image, [CROP, SOME, BLUR, FLIP])
    of_channels = draw(np.tile(image, 5)[..., :13].astype(np.float32), [CROP, SOME, BLUR, FLIP])
    for name in ('view_boxes', 'view_flips', 'view_colors'):
        np.testing.assert_array_equal(of_channels[name], of_bytes[name])
    assert len({tuple(row) for row in of_bytes['view_colors']}) > 5
    packed = PackViews().transform(of_channels)
    assert [view.shape for view in packed['inputs']] == [(13, 24, 24)] * 8


def test_sixteen_bits_stay_through_crop_and_normalization(tmp_path):
    """A ramp with a level of 65,536 for each pixel, of which 8 bits would leave 256."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    path = write(tmp_path / 'ramp.png', ramp)
    results = LoadChannels(1, 16).transform({'img_path': str(path)})
    whole = dict(CROP, scale=256, crop_ratio_range=(1.0, 1.0), aspect_ratio_range=(1.0, 1.0))
    results = CandidateViews([[whole]], [1]).transform(results)
    (view,) = PackViews().transform(results)['inputs']
    preprocess = ChannelPreprocessor(mean=[32767.5], std=[18918.0])
    (found,) = preprocess({'inputs': [view[None]], 'data_samples': None})['inputs']
    assert found.unique().numel() == 65536
    values = (found.double() * 18918.0 + 32767.5).round().to(torch.int32)
    assert torch.equal(values[0, 0], torch.from_numpy(ramp[..., 0].astype(np.int32)))


def test_transforms_that_need_rgb_say_so():
    image = noise(13).astype(np.float32)
    hue, gray = dict(JITTER, hue=0.1), dict(type='RandomGrayscale', prob=1.0, keep_channels=True)
    solarize = dict(type='Solarize', thr=128, prob=1.0)
    for step, name in ((hue, 'hue'), (gray, 'grayscale'), (solarize, 'solarize')):
        with pytest.raises(ValueError, match=f'changes the {name}, which needs 8-bit RGB'):
            draw(image, [CROP, step])


def test_8_bit_rgb_takes_none_of_the_slower_operations(monkeypatch):
    """Its pixels are compared with upstream's in the other tests of these transforms."""

    def fail(*args):
        raise AssertionError('8-bit RGB took the path of other images')

    monkeypatch.setattr(geometry, 'resize_channels', fail)
    monkeypatch.setattr(colors, '_OF_CHANNELS', dict.fromkeys(colors._OF_CHANNELS, fail))
    called = []
    real = geometry.resize
    monkeypatch.setattr(geometry, 'resize', lambda *args: called.append(1) or real(*args))
    views = draw(noise(3, 8, (61, 70)), [CROP, dict(JITTER, hue=0.1), BLUR, FLIP])['img']
    assert {view.dtype for view in views} == {np.dtype(np.uint8)}
    assert len(called) == 8


def test_the_edge_for_evaluation():
    image = noise(13, size=(40, 60)).astype(np.float32)
    results = ResizeEdgeOfChannels(20).transform({'img': image})
    np.testing.assert_array_equal(results['img'], resize_channels(image, (20, 30), 'bicubic'))
    assert (results['img_shape'], results['scale_factor']) == ((20, 30), (0.5, 0.5))
    with pytest.raises(ValueError, match='interpolation='):
        ResizeEdgeOfChannels(20, interpolation='area')
