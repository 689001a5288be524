"""Crops in batches: pixels against MMCV, images of several sizes, and bad input."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
import torch
from PIL import Image

from hvs_mm.models.photometry.crops import cut_views, resampling_weights, resize_boxes
from hvs_mm.utils.crop_record import CROP_COLUMNS, FILTERS


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
    corners = np.sort(rng.integers(0, (49, 65), (len(images), 5, 2, 2)), axis=2)
    low, high = corners[:, :, 0, ::-1], corners[:, :, 1, ::-1]
    # (N, 5, 4), at least a pixel wide and high
    low = np.minimum(low, (63, 47))
    boxes = np.concatenate([low, np.maximum(high, low + 1)], axis=2)
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


# --- Images of several sizes ---------------------------------------------------------------------


def batch_of(sizes, views=3, size=(16, 12), position=0):
    """Pixels (N,) and crops (B, S, 11) of random images."""
    rng, pixels, crops = np.random.default_rng(0), [], []
    for height, width in sizes:
        pixels.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for _ in range(views):
            x1, y1 = rng.integers(0, (width - 8, height - 8))
            x2, y2 = rng.integers((x1 + 4, y1 + 4), (width, height), endpoint=True)
            flips = rng.integers(0, 2, 2)
            crops.append([x1, y1, x2, y2, *flips, *size, position, height, width])
    crops = np.array(crops, np.float32).reshape(len(sizes), views, len(CROP_COLUMNS))
    return torch.cat([torch.from_numpy(one.ravel()) for one in pixels]), crops, pixels


@pytest.mark.parametrize('position', range(len(FILTERS)))
def test_an_image_is_cut_as_if_it_were_alone(position, monkeypatch):
    """Sizes in three groups, one of them with padding, and groups in several parts."""
    sizes = [(40, 60), (200, 150), (41, 50), (40, 60), (60, 140), (41, 50)]
    pixels, crops, images = batch_of(sizes, position=position)
    views = cut_views(pixels, crops)
    assert [tuple(view.shape) for view in views] == [(6, 3, 16, 12)] * 3
    backend, interpolation = FILTERS[position]
    for number, image in enumerate(images):
        rows = torch.from_numpy(crops[number : number + 1])
        alone = torch.from_numpy(image).permute(0, 2, 1)[None]
        wanted = resize_boxes(
            alone, rows[..., :4], rows[..., 4:6] > 0, (16, 12), interpolation, backend
        )[0]
        found = torch.stack([view[number] for view in views])
        assert (found - wanted).abs().max() <= 1
        assert (found != wanted).float().mean() < 1e-3
    monkeypatch.setattr('hvs_mm.models.photometry.crops._PIXELS', 5000)
    for view, same in zip(views, cut_views(pixels, crops)):
        assert (view.short() - same.short()).abs().max() <= 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda pixels, crops: (pixels[:-3], crops), r'2 images with 14400 values.*join_images'),
        (lambda pixels, crops: (pixels.float(), crops), r'8-bit images.*not torch\.float32'),
        (lambda pixels, crops: (pixels.view(2, -1), crops), r'shape \(2, 7200\)'),
    ],
)
def test_pixels_that_do_not_fit(change, message):
    pixels, crops, _ = batch_of([(40, 60), (40, 60)])
    with pytest.raises((TypeError, ValueError), match=message):
        cut_views(*change(pixels, crops))


def test_views_that_differ_from_image_to_image():
    pixels, crops, _ = batch_of([(40, 60), (40, 60)])
    crops[1, 2, 6] = 20
    with pytest.raises(ValueError, match=r"differ in scale, interpolation or backend.*'loader'"):
        cut_views(pixels, crops)
