"""Boxes and pixels of crops in batches, against upstream's ``RandomResizedCrop``."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image
from scipy.stats import ks_2samp

from hvs_study.fast.crops import draw_boxes, resampling_weights, resize_boxes

BOXES = 2000


def upstream_boxes(crop: RandomResizedCrop, height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    np.random.seed(0)
    drawn = np.array([crop.rand_crop_params(image) for _ in range(BOXES)])
    y, x, h, w = drawn.T
    return np.stack([x, y, x + w, y + h], axis=1)


@pytest.mark.parametrize(
    ('size', 'settings'),
    [
        ((64, 64), dict(crop_ratio_range=(0.2, 0.5))),
        ((32, 32), dict(crop_ratio_range=(0.08, 1.0))),
        # Many attempts fail, and some boxes fall back to the center.
        ((40, 100), dict(crop_ratio_range=(0.3, 0.6), max_attempts=2)),
        ((100, 40), dict(crop_ratio_range=(0.3, 0.6), max_attempts=2)),
    ],
)
def test_boxes_have_the_distribution_of_upstream(size, settings):
    crop = RandomResizedCrop(scale=8, **settings)
    found = draw_boxes(crop, *size, BOXES, np.random.default_rng(0))
    wanted = upstream_boxes(crop, *size)
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] <= size[::-1]).all()
    for column in range(4):
        assert ks_2samp(found[:, column], wanted[:, column]).pvalue > 0.01
    for extents in (lambda b: b[:, 2] - b[:, 0], lambda b: b[:, 3] - b[:, 1]):
        assert ks_2samp(extents(found), extents(wanted)).pvalue > 0.01
    # Boxes of an image are independent: neighbors in the list do not resemble each other.
    areas = (found[:, 2:] - found[:, :2]).prod(1)
    assert abs(np.corrcoef(areas[1:], areas[:-1])[0, 1]) < 0.1


@pytest.mark.parametrize('size', [(10, 100), (100, 10), (50, 50)])
def test_without_an_attempt_boxes_are_upstream_s_center(size):
    crop = RandomResizedCrop(scale=8, max_attempts=1, crop_ratio_range=(4.0, 5.0))
    found = draw_boxes(crop, *size, 3, np.random.default_rng(0))
    assert (found == upstream_boxes(crop, *size)[0]).all()


@pytest.mark.parametrize(
    ('backend', 'interpolation'),
    [('cv2', 'bilinear'), ('pillow', 'bilinear'), ('pillow', 'bicubic')],
)
@pytest.mark.parametrize('size', [(24, 24), (16, 20), (80, 72)])
def test_pixels_are_those_of_upstream_within_one_level(backend, interpolation, size):
    rng = np.random.default_rng(0)
    # Smooth and rough parts, and values at both ends.
    rough = rng.integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    smooth = np.stack([np.array(Image.fromarray(one[:6, :8]).resize((64, 48))) for one in rough])
    images = np.concatenate([rough, smooth])
    crop = RandomResizedCrop(scale=8, crop_ratio_range=(0.02, 1.0))
    boxes = np.stack([draw_boxes(crop, 48, 64, 5, rng) for _ in images])
    flips = rng.random((len(images), 5, 2)) < 0.5
    found = resize_boxes(
        torch.from_numpy(images).permute(0, 1, 3, 2),
        torch.from_numpy(boxes),
        torch.from_numpy(flips),
        size,
        interpolation,
        backend,
    )
    assert (found == found.round()).all()
    far = 0
    for number, image in enumerate(images):
        for view, (x1, y1, x2, y2) in enumerate(boxes[number]):
            window = np.ascontiguousarray(image[y1:y2, x1:x2])
            wanted = mmcv.imresize(window, size[::-1], interpolation=interpolation, backend=backend)
            wanted = wanted[:, ::-1] if flips[number, view, 0] else wanted
            wanted = wanted[::-1] if flips[number, view, 1] else wanted
            gap = np.abs(found[number, view].permute(1, 2, 0).numpy() - wanted)
            assert gap.max() <= (1 if backend == 'cv2' else 2)
            far += (gap > 1).sum()
    # Pillow rounds after each of two passes.
    assert far < 1e-4 * found.numel()


def test_weights_add_up_to_one_and_stay_inside_the_window():
    start, stop = torch.tensor([[0, 3], [5, 9]]), torch.tensor([[2, 12], [6, 12]])
    for backend, interpolation in (('cv2', 'bilinear'), ('pillow', 'bicubic')):
        weights = resampling_weights(start, stop, 7, 12, interpolation, backend)
        assert weights.shape == (2, 2, 7, 12)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))
        pixels = torch.arange(12)
        is_outside = (pixels < start[..., None]) | (pixels >= stop[..., None])
        assert (weights * is_outside[..., None, :] == 0).all()
