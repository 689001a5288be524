"""Candidate views of torchvision's and Lightly's transforms, and where they lie."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from lightly.transforms import BYOLTransform, DINOTransform, SimCLRTransform
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from hvs_mm import CandidateTransform
from hvs_mm.datasets.shape_images import ShapeImages

HEIGHT, WIDTH = 48, 64


def coordinates() -> torch.Tensor:
    """An image (3, H, W) whose channels are the positions x and y of each pixel."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    return torch.stack([x, y, 0 * x]).float()


def shown(view: torch.Tensor) -> tuple[list[float], list[bool]]:
    """The box that a view of :func:`coordinates` shows, and whether it is mirrored."""
    box, mirrored = [], []
    for axis, size in ((0, view.shape[2]), (1, view.shape[1])):
        # Along x, or along y
        line = view[axis].mean(axis)
        # Centers of pixels in the middle, where no border disturbs the interpolation.
        low, high = size // 4, size - 1 - size // 4
        step = (line[high] - line[low]) / (high - low)
        ends = line[low] - step * (low + 0.5) + 0.5, line[low] + step * (size - low - 0.5) + 0.5
        box.append(sorted(map(float, ends)))
        mirrored.append(bool(step < 0))
    return [box[0][0], box[1][0], box[0][1], box[1][1]], mirrored


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


CROPS = v2.Compose(
    [
        v2.Resize((96, 96)),
        v2.RandomResizedCrop(32, scale=(0.1, 0.6), antialias=False),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        v2.Compose([v2.RandomResizedCrop((24, 16), scale=(0.7, 1.0), antialias=False)]),
    ]
)


def test_boxes_and_flips_are_what_the_views_show():
    seed(0)
    views, boxes, flips = CandidateTransform(CROPS, 20)(coordinates())
    for view, box, flip in zip(views, boxes, flips):
        # Interpolation without antialiasing and borders: up to some tenths of a pixel.
        expected, mirrored = shown(view)
        torch.testing.assert_close(box, torch.tensor(expected), rtol=0, atol=0.6)
        assert flip.tolist() == mirrored
    assert flips.float().mean(0).min() > 0.2


@pytest.mark.parametrize(
    'transform',
    [
        v2.Compose([CROPS, v2.RandomApply([v2.ColorJitter(0.4)]), v2.ToImage()]),
        SimCLRTransform(input_size=32).transforms[0],
        DINOTransform(global_crop_size=32, local_crop_size=16).transforms[1],
    ],
    ids=['torchvision', 'SimCLR of Lightly', 'DINO of Lightly'],
)
def test_the_views_are_those_of_the_transform(transform):
    image = photograph()
    seed(1)
    expected = [transform(image) for _ in range(5)]
    seed(1)
    batch = CandidateTransform(transform, 5)(image)
    for mine, theirs in zip(batch.views, expected):
        assert torch.equal(mine, theirs)
    assert batch.boxes.isfinite().all()
    assert (batch.boxes[:, 2:] > batch.boxes[:, :2]).all()


def test_pipelines_of_lightly_are_groups():
    assert len(CandidateTransform(SimCLRTransform(), 4).pipelines) == 1
    assert len(CandidateTransform(BYOLTransform(), [2, 2]).pipelines) == 2
    draw = CandidateTransform(DINOTransform(global_crop_size=32, local_crop_size=16), [2, 2, 3])
    batch = draw(photograph())
    assert [view.shape[-1] for view in batch.views] == [32] * 4 + [16] * 3
    # Local crops show less.
    area = (batch.boxes[:, 2:] - batch.boxes[:, :2]).prod(-1)
    assert area[4:].mean() < area[:4].mean()


@pytest.mark.parametrize(
    'step',
    [
        v2.RandomRotation(30),
        v2.Lambda(lambda image: image),
        v2.RandomApply([v2.RandomResizedCrop(16)]),
        v2.AutoAugment(),
        np.asarray,
    ],
    ids=lambda step: type(step).__name__,
)
def test_what_may_move_pixels_leaves_the_box_unknown(step):
    batch = CandidateTransform(v2.Compose([v2.RandomResizedCrop(32), step]), 2)(photograph())
    assert batch.boxes.isnan().all()
    assert len(batch.views) == 2


def test_images_of_other_libraries():
    image = np.zeros((8, 8, 3), np.uint8)
    batch = CandidateTransform(lambda pixels: torch.from_numpy(pixels[:4]), 2)(image)
    assert [tuple(view.shape) for view in batch.views] == [(4, 8, 3)] * 2
    assert batch.boxes.isnan().all()


def test_a_loader_gives_batches_for_hard_views():
    crop = v2.Compose([v2.PILToTensor(), v2.RandomResizedCrop(16)])
    images = ShapeImages('val', 6, CandidateTransform([crop, crop], [2, 1]), img_size=32)
    batch, labels = next(iter(DataLoader(images, batch_size=3)))
    assert [tuple(view.shape) for view in batch.views] == [(3, 3, 16, 16)] * 3
    assert (batch.boxes.shape, batch.flips.shape) == ((3, 3, 4), (3, 3, 2))
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize('count', [0, 2.5, True, [2, 2], []])
def test_bad_numbers_of_views(count):
    with pytest.raises(ValueError, match='must be one positive integer for each of'):
        CandidateTransform(CROPS, count)


def test_a_transform_that_cannot_be_called():
    with pytest.raises(TypeError, match='transform=32 must map an image to a view'):
        CandidateTransform([CROPS, 32], [2, 2])
