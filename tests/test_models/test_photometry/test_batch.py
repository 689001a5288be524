"""``apply_photometry`` against what upstream computes in the loader."""

from __future__ import annotations

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.hub import get_config
from PIL import Image, ImageFilter
from torch import Tensor

from hvs_mm.datasets import CandidateViews, PackViews
from hvs_mm.models.photometry.batch import apply_photometry
from hvs_mm.utils.photometry_operations import OPERATIONS, pack_operations, stack_operations
from tests.helpers.pictures import DISTINCT, UPSTREAM, seed
from tests.helpers.tiny_dino import GLOBAL

#: Weights of blue, green and red.
GRAY = (0.114, 0.587, 0.299)


PIPELINE = [
    dict(type='RandomResizedCrop', scale=GLOBAL, crop_ratio_range=(0.3, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomApply',
        transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        ],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=GRAY),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='Solarize', thr=128, prob=0.2),
]


def picture(number=0, size=96):
    """Smooth colors with some noise, as those of a photograph; BGR."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def to_batch(images):
    """(N, 3, H, W) of N images (H, W, 3)."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def to_images(batch: Tensor):
    return batch.permute(0, 2, 3, 1).numpy().astype(int)


def change(images, operations):
    """One view of each image, with a list of operations for each."""
    records = stack_operations([pack_operations([steps]) for steps in operations])
    (changed,) = apply_photometry([to_batch(images)], records)
    assert changed.dtype == torch.uint8
    return to_images(changed)


def blurred(image, sigma):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def gray(image, *weights):
    return np.repeat((image * np.array(weights)).sum(2, keepdims=True).astype(np.uint8), 3, axis=2)


#: By operation: upstream's, the values, the largest mean and largest difference in gray levels.
UPSTREAM_OPERATIONS = {
    'brightness': (
        lambda image, x: mmcv.adjust_brightness(image, x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0, 0),
    ),
    'contrast': (
        lambda image, x: mmcv.adjust_contrast(image, x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0.001, 1),
    ),
    'saturation': (
        lambda image, x: mmcv.adjust_color(image, alpha=x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0.001, 1),
    ),
    'hue': (
        lambda image, x: mmcv.adjust_hue(image, x, backend='pillow'),
        [(-0.5,), (-0.2,), (-0.001,), (0.0,), (0.1,), (0.25,), (0.5,)],
        (0.02, 8),
    ),
    'grayscale': (gray, [GRAY, (0.3, 0.3, 0.4)], (0.01, 1)),
    'blur': (blurred, [(0.1,), (0.7,), (1.0,), (1.5,), (2.0,), (5.0,)], (0.6, 12)),
    'solarize': (
        lambda image, x: mmcv.solarize(image, x).astype(np.uint8),
        [(0.0,), (100.0,), (128.0,), (256.0,)],
        (0, 0),
    ),
}


@pytest.mark.parametrize('name', OPERATIONS)
def test_an_operation_with_given_values(name):
    upstream, given, (largest_mean, largest) = UPSTREAM_OPERATIONS[name]
    images = [picture(number) for number in range(len(given))]
    for number in range(len(images)):
        # Extremes, where 8 bits overflow.
        images[number][:8], images[number][8:16] = 0, 255
    changed = change(images, [[(name, *values)] for values in given])
    differences = []
    for image, values, ours in zip(images, given, changed):
        expected = upstream(image, *values).astype(int)
        differences.append(np.abs(ours - expected))
        assert differences[-1].mean() <= largest_mean, values
        assert differences[-1].max() <= largest, values
    # What would do nothing would be noticed.
    assert np.abs(changed - np.stack(images)).mean() > 1


def test_the_order_is_that_of_the_record():
    steps = [('solarize', 128), ('brightness', 1.5)]
    images = [picture()] * 2
    first, second = change(images, [steps, steps[::-1]])
    darker = mmcv.solarize(images[0], 128).astype(np.uint8)
    expected = mmcv.adjust_brightness(darker, 1.5, backend='pillow')
    assert np.array_equal(first, expected)
    brighter = mmcv.adjust_brightness(images[0], 1.5, backend='pillow')
    assert np.array_equal(second, mmcv.solarize(brighter, 128))


def both(pipelines, counts, images, number=0):
    """The views by the loader and by the device (S, B, H, W, 3), and the samples of both."""
    drawn = []
    for photometry in ('loader', 'device'):
        seed(number)
        views = CandidateViews(pipelines, counts, photometry=photometry)
        drawn.append(default_collate([PackViews()(views({'img': img})) for img in images]))
    loader, device = drawn
    record = stack_operations([sample.view_photometry for sample in device['data_samples']])
    changed = apply_photometry(device['inputs'], record)
    return (
        [to_images(view) for view in loader['inputs']],
        [to_images(view) for view in changed],
        [to_images(view) for view in device['inputs']],
    )


@pytest.mark.parametrize('name', DISTINCT)
def test_the_views_of_the_loader(name):
    """The same seed gives the same views, up to a few gray levels."""
    cfg = get_config(f'mmpretrain::{name}')
    pipelines = [cfg[key] for key in UPSTREAM[name]]
    images = [picture(number, 200) for number in range(6)]
    loader, device, before = both(pipelines, [2] * len(pipelines), images)
    differences = [np.abs(ours - theirs) for ours, theirs in zip(device, loader)]
    assert max(difference.mean((1, 2, 3)).max() for difference in differences) < 1
    assert np.mean([difference.mean() for difference in differences]) < 0.3
    assert max(np.quantile(difference, 0.999) for difference in differences) <= 5
    assert np.mean([np.abs(a - b).mean() for a, b in zip(before, loader)]) > 10


def test_a_jitter_of_opencv():
    jitter = dict(
        type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, backend='cv2'
    )
    loader, device, _ = both([[jitter]], [8], [picture(number) for number in range(4)])
    assert np.abs(np.array(device) - np.array(loader)).mean() < 2


def test_statistics_of_other_seeds():
    """The distributions agree, not only the views of one seed."""
    images = [picture(number) for number in range(25)]
    loader, _, _ = both([PIPELINE], [40], images, number=0)
    _, device, _ = both([PIPELINE], [40], images, number=1)

    def statistics(views):
        views = np.concatenate(views).astype(float)
        edges = np.abs(np.diff(views, axis=2)).mean((1, 2, 3))
        is_gray = (views == views[..., :1]).all((1, 2, 3))
        return np.stack([views.mean((1, 2, 3)), views.std((1, 2, 3)), edges, is_gray], 1)

    first, second = statistics(loader), statistics(device)
    assert len(first) == 1000
    # Four standard errors of the difference.
    error = 4 * (first.var(0) / len(first) + second.var(0) / len(second)) ** 0.5
    assert (np.abs(first.mean(0) - second.mean(0)) < error).all()
    # Each would have been noticed.
    assert (error / first.mean(0) < [0.05, 0.08, 0.13, 0.4]).all()


def test_views_of_two_sizes():
    local = [{**PIPELINE[0], 'scale': 16}, *PIPELINE[1:]]
    loader, device, _ = both([PIPELINE, local, PIPELINE], [2, 3, 1], [picture(i) for i in range(3)])
    assert [view.shape[1] for view in device] == [GLOBAL] * 2 + [16] * 3 + [GLOBAL]
    for ours, theirs in zip(device, loader):
        assert np.abs(ours - theirs).mean() < 1.5


def test_pipelines_without_changes_of_color():
    loader, device, _ = both([PIPELINE[:2]], [3], [picture(i) for i in range(2)])
    assert np.array_equal(loader, device)


def test_samples_do_not_depend_on_each_other():
    seed()
    views = CandidateViews([PIPELINE], 12, photometry='device')
    batch = default_collate([PackViews()(views({'img': picture(i)})) for i in range(5)])
    records = stack_operations([sample.view_photometry for sample in batch['data_samples']])
    together = apply_photometry(batch['inputs'], records)
    for sample in range(5):
        rows = slice(sample, sample + 1)
        alone = apply_photometry([view[rows] for view in batch['inputs']], records[rows])
        for view, expected in zip(alone, together):
            # The order in which a convolution adds up depends on the batch.
            difference = view.int() - expected[rows].int()
            assert difference.abs().max() <= 1
            assert difference.abs().float().mean() < 0.01


def test_it_runs_in_full_precision_and_leaves_its_input_alone():
    images = to_batch([picture(i) for i in range(4)])
    steps = [('blur', 1.3), ('contrast', 1.2), ('hue', 0.1)]
    records = stack_operations([pack_operations([steps])] * 4)
    given = images.clone()
    (expected,) = apply_photometry([images], records)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (changed,) = apply_photometry([images], records)
    assert torch.equal(changed, expected)
    assert torch.equal(images, given)


@pytest.mark.parametrize(
    ('views', 'error', 'message'),
    [
        ([torch.zeros(2, 3, 4, 4)], TypeError, 'view 0 is torch.float32'),
        ([torch.zeros(2, 1, 4, 4, dtype=torch.uint8)], ValueError, r'shape \(2, 1, 4, 4\)'),
        ([torch.zeros(2, 3, 4, 4, dtype=torch.uint8)] * 2, ValueError, r'\(2, 1\).*\(2, 2\)'),
    ],
)
def test_views_that_do_not_fit(views, error, message):
    record = stack_operations([pack_operations([[('hue', 0.1)]])] * 2)
    with pytest.raises(error, match=message):
        apply_photometry(views, record)


def test_an_operation_that_does_not_exist():
    with pytest.raises(ValueError, match=r"'sharpen' is none of \['brightness'"):
        pack_operations([[('sharpen', 1.0)]])
