"""Images that a benchmark of the loader reads."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config

from hvs_mm.engine import build_training_dataset

_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
#: Height and width of synthetic images, as most of ImageNet's.
_SYNTHETIC = (375, 500)
_QUALITY = 90


class Images(NamedTuple):
    """Images to measure with.

    Attributes:
        source: Where they come from, in words.
        files: Each as an encoded file.
        sizes: Height and width of each.
    """

    source: str
    files: list[bytes]
    sizes: list[tuple[int, int]]


def find_images(cfg: Config, place: str | None, number: int) -> Images:
    """Images of a folder or glob, by default those of the config, or else synthetic ones.

    Raises:
        ValueError: If there is none, or one cannot be read.
    """
    if place is not None:
        return _read_images(f'images of {place}', _spread(_image_files(place), number))
    try:
        dataset = build_training_dataset(cfg)
    except FileNotFoundError as error:
        reason = str(error).split(' does not exist')[0].rsplit(' ', 1)[-1]
        source = f'synthetic JPEGs, as {reason} of the config does not exist'
        return _encode(source, [photograph(*_SYNTHETIC, seed) for seed in range(number)])
    chosen = _spread(range(len(dataset)), number)
    paths = [dataset.get_data_info(position).get('img_path') for position in chosen]
    name = type(dataset).__name__
    if all(paths):
        return _read_images(f'images of the config ({name})', paths)
    part = dataset
    while not hasattr(part, 'pipeline'):
        part = part.dataset
    part.pipeline = Compose([])
    source = f'images of the config, drawn by {name}, as JPEGs'
    return _encode(source, [dataset[position]['img'] for position in chosen])


def _image_files(place: str) -> list[str]:
    is_folder = os.path.isdir(place)
    pattern = os.path.join(glob.escape(place), '**', '*') if is_folder else place
    found = glob.glob(pattern, recursive=True)
    files = sorted(path for path in found if path.lower().endswith(_EXTENSIONS))
    if not files:
        kind = 'folder without images' if is_folder else 'no file matches'
        raise ValueError(f'--images {place}: {kind} ({", ".join(_EXTENSIONS)}).')
    return files


def _read_images(source: str, paths: Sequence[str]) -> Images:
    files, sizes = [], []
    for path in paths:
        content = Path(path).read_bytes()
        image = mmcv.imfrombytes(content) if content else None
        if image is None:
            raise ValueError(
                f'{path} cannot be read as an image: remove it or give other --images.'
            )
        files.append(content)
        sizes.append(image.shape[:2])
    return Images(source, files, sizes)


def _spread(items: Sequence[Any], number: int) -> list[Any]:
    """Some of them, evenly spread: neighbors often resemble each other."""
    number = min(number, len(items))
    return [items[position * len(items) // number] for position in range(number)]


def _encode(source: str, pictures: list[np.ndarray]) -> Images:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    files = [cv2.imencode('.jpg', picture, quality)[1].tobytes() for picture in pictures]
    return Images(source, files, [picture.shape[:2] for picture in pictures])


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """An image (height, width, 3) uint8 with the statistics of photographs.

    The amplitude of a wave falls with its frequency (D. Field, 1987), the channels resemble each
    other, and one image is brighter than another.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing='ij'))
    frequency[0, 0] = np.inf
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, height, width))) / frequency).real
    luma, *tints = waves / waves.std(axis=(1, 2), keepdims=True)
    luma = rng.uniform(80, 150) + rng.uniform(35, 65) * luma
    # b, g, r
    planes = [luma + 18 * tints[0], luma, luma + 18 * tints[1]]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)
