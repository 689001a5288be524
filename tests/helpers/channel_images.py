"""Images of other kinds than 8-bit RGB, as users have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile


def noise(channels: int, bits: int = 16, size: tuple[int, int] = (32, 40), seed: int = 0) -> Any:
    """Noise (H, W, C) of all values of so many bits."""
    dtype = np.uint16 if bits == 16 else np.uint8
    return np.random.default_rng(seed).integers(0, 2**bits, (*size, channels), dtype=dtype)


def write(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W, C) with up to 4 channels in this order, by OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = pixels.shape[2]
    order = [0] if channels == 1 else [2, 1, 0, *range(3, channels)]
    assert cv2.imwrite(str(path), pixels[..., order])
    return path


def write_tiff(path: Path, pixels: np.ndarray, **settings: Any) -> Path:
    """Write by tifffile."""
    tifffile.imwrite(path, pixels, **settings)
    return path


def folder_of(folder: Path, pixels: list[np.ndarray], name: str = '{}.png') -> Path:
    """Write images into a folder."""
    for number, one in enumerate(pixels):
        write(folder / name.format(number), one)
    return folder
