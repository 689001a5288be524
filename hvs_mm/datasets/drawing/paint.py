"""Colors, textures and filled outlines of procedural images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

BGR_TO_LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)

_SUPERSAMPLING = 3
#: Fixed-point bits of the outline coordinates handed to OpenCV.
_SHIFT = 4


def draw_chroma(rng: np.random.Generator, std: float, num: int = 1) -> np.ndarray:
    """BGR offsets (num, 3) float32 that change hue and saturation but no luma."""
    offset = rng.normal(0.0, std, size=(num, 3)).astype(np.float32)
    return offset - (offset @ BGR_TO_LUMA)[:, None]


def draw_texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Gradient, stripes, checks, blobs or grain, (size, size) float32 from -1 to 1."""
    kind = rng.integers(5)
    if kind >= 3:
        # Smoothly enlarged noise: a few large blobs, or grain of a few pixels.
        cells = rng.integers(3, 7) if kind == 3 else rng.integers(size // 4, size // 2)
        coarse = rng.uniform(-1.0, 1.0, size=(cells, cells)).astype(np.float32)
        return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)

    angle = rng.uniform(0.0, 2.0 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    along = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    if kind == 0:
        return along * np.float32(math.sqrt(2.0))
    waves = 2.0 * math.pi * rng.uniform(3.0, 8.0)
    texture = np.sin(waves * along + rng.uniform(0.0, 2.0 * math.pi))
    if kind == 2:
        across = math.cos(angle) * axis[:, None] - math.sin(angle) * axis[None, :]
        texture = texture * np.sin(waves * across + rng.uniform(0.0, 2.0 * math.pi))
    return texture.astype(np.float32)


def draw_noise(rng: np.random.Generator, size: int, std: float) -> np.ndarray:
    """Independent noise of all values, (size, size, 3) float32."""
    return rng.standard_normal(size=(size, size, 3), dtype=np.float32) * np.float32(std)


def fill_objects(
    size: int,
    outlines: Sequence[Sequence[np.ndarray]],
    center: np.ndarray,
    scale: np.ndarray,
    angle: np.ndarray,
    colors: np.ndarray,
    unit: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the outlines of N objects; later ones cover earlier ones.

    Args:
        size: Side of the image in pixels.
        outlines: For each object its outlines, each (K, 2).
        center: (N, 2) x and y.
        scale: (N,) factors of the outlines.
        angle: (N,) in radians.
        colors: (N, 3) BGR from 0 to 255, clipped.
        unit: The length 1 of centers and scales, as a fraction of the image's side.

    Returns:
        The colors of the objects on black, (size, size, 3), BGR from 0 to 255, and the share of
        each pixel that they cover, (size, size, 1); both float32.
    """
    fine = size * _SUPERSAMPLING
    canvas = np.zeros((fine, fine, 4), dtype=np.uint8)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1)
    to_fixed_point = (fine << _SHIFT) * unit
    colors = np.pad(np.clip(colors, 0.0, 255.0), [(0, 0), (0, 1)], constant_values=255.0)
    for parts, turn, middle, color in zip(outlines, rotation, center, colors.tolist()):
        points = [np.rint((part @ turn + middle) * to_fixed_point) for part in parts]
        cv2.fillPoly(canvas, [part.astype(np.int32) for part in points], color, shift=_SHIFT)
    canvas = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return canvas[..., :3], canvas[..., 3:] / 255.0
