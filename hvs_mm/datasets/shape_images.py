"""The images of ``ShapesDataset`` as a data set of plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from ..utils.arguments import check_choice, check_whole
from .drawing.image import LAYOUTS, SPLITS, draw_image
from .drawing.outlines import CLASSES


class ShapeImages(Dataset):
    """Images of ten kinds of plain shapes, the same as those of ``ShapesDataset``.

    Needs no files, and MMPretrain neither. All images are drawn at the start, about 5,000 of 64
    pixels in a second. An item is ``(image, label)``: an image of PIL in RGB, or what the transform
    makes of it, and an int from 0 to 9.

    Args:
        split: ``'train'`` or ``'val'``. No image belongs to both.
        num_samples: Number of images.
        transform: Takes an image of PIL.
        img_size: Side of the images in pixels, at least 16.
        layout: ``'lattice'`` or ``'scene'``, see ``ShapesDataset``.

    Raises:
        ValueError: If a setting is unknown or too small.
    """

    def __init__(
        self,
        split: str = 'train',
        num_samples: int = 1024,
        transform: Callable[[Image.Image], Any] | None = None,
        img_size: int = 64,
        layout: str = 'lattice',
    ) -> None:
        check_choice('split', split, SPLITS)
        check_choice('layout', layout, LAYOUTS)
        check_whole('num_samples', num_samples)
        check_whole('img_size', img_size, 16, 'side of the images in pixels.')
        self.labels = [number % len(CLASSES) for number in range(num_samples)]
        # (N, H, W, 3), BGR as drawn -> RGB
        images = [draw_image(layout, 0, split, *one, img_size) for one in enumerate(self.labels)]
        self.images = np.ascontiguousarray(np.stack(images)[..., ::-1])
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        image = Image.fromarray(self.images[position])
        label = self.labels[position]
        return (image if self.transform is None else self.transform(image)), label
