"""Folders of images as users have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, names: Iterable[str], size: tuple[int, int] = (40, 32)) -> Path:
    """Write images of noise, (width, height) pixels, under names below a folder."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def class_names(classes: Iterable[str], number: int) -> list[str]:
    """Names of so many images in each class folder."""
    return [f'{name}/{image}.png' for name in classes for image in range(number)]
