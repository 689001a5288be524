"""Images in which every place looks different, as in photographs."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .outlines import unit_outlines
from .paint import draw_chroma, draw_noise, draw_texture, fill_objects

#: Patches of ground, each with a color and a texture of its own; on the 0 to 255 scale. Ground and
#: light hardly change the brightness: with more, a small network tells images by that alone and
#: learns no shapes in the minutes of the demo.
_GROUNDS = 3
_GROUND_LUMA_RANGE = (124.0, 131.0)
_GROUND_CHROMA_STD = 30.0
_GROUND_TEXTURE_RANGE = (3.0, 9.0)
#: Objects of the image's class stand in a grid of so many rows, moved at most so far from it.
_GRID = 3
_JITTER = 0.1
#: Fraction of the image that an object or a piece of clutter covers.
_OBJECT_AREA_RANGE = (0.016, 0.034)
_CLUTTER = 2
_CLUTTER_AREA_RANGE = (0.003, 0.01)
_CLUTTER_CORNERS = 9
#: Difference in luma of an object and the place it stands on.
_LUMA_GAP_RANGE = (65.0, 95.0)
_OBJECT_CHROMA_STD = 35.0
_LIGHT_RANGE = (0.94, 1.06)
_NOISE_STD = 4.0


def draw_scene(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw an image (size, size, 3) float32, BGR, of several objects among clutter.

    Ground, clutter and light change over the image, and no object looks like another, so two crops
    have the less in common the less they overlap. Only the outline of the objects depends on the
    label.
    """
    image = _draw_ground(rng, size)
    for draw in (_draw_clutter, _draw_objects):
        things, cover = draw(rng, label, image)
        image = things + (1.0 - cover) * image
    return image * _draw_light(rng, size) + draw_noise(rng, size, _NOISE_STD)


def _draw_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Patches (size, size, 3) float32: every pixel belongs to the nearest of some random points."""
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    # (grounds, size) each
    x, y = np.square(axis - rng.uniform(0.0, 1.0, size=(2, _GROUNDS, 1)).astype(np.float32))
    # (size, size)
    nearest = (x[:, None, :] + y[:, :, None]).argmin(axis=0)
    luma = rng.uniform(*_GROUND_LUMA_RANGE, size=(_GROUNDS, 1)).astype(np.float32)
    colors = luma + draw_chroma(rng, _GROUND_CHROMA_STD, _GROUNDS)
    swings = rng.uniform(*_GROUND_TEXTURE_RANGE, size=_GROUNDS).astype(np.float32)
    textures = np.stack([swing * draw_texture(rng, size) for swing in swings])
    texture = np.take_along_axis(textures, nearest[None], axis=0)[0]
    return colors[nearest] + texture[..., None]


def _draw_clutter(
    rng: np.random.Generator, label: int, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Jagged splinters, which are of no class; see :func:`fill_objects`."""
    center = rng.uniform(0.0, 1.0, size=(_CLUTTER, 2))
    angle = np.linspace(0.0, 2.0 * math.pi, _CLUTTER_CORNERS, endpoint=False)
    radius = rng.uniform(0.3, 0.9, size=(_CLUTTER, _CLUTTER_CORNERS))
    # Stretched, so that none looks like a disc.
    stretch = np.sqrt(rng.uniform(1.5, 4.0, size=(_CLUTTER, 1)))
    points = [radius * np.cos(angle) * stretch, radius * np.sin(angle) / stretch]
    outlines = [[outline] for outline in np.stack(points, axis=2)]
    return _place(rng, image, outlines, center, _CLUTTER_AREA_RANGE)


def _draw_objects(
    rng: np.random.Generator, label: int, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Objects of the class; see :func:`fill_objects`."""
    center = (np.array(list(np.ndindex(_GRID, _GRID))) + 0.5) / _GRID
    center += rng.uniform(-_JITTER, _JITTER, size=center.shape)
    return _place(rng, image, [unit_outlines()[label]] * len(center), center, _OBJECT_AREA_RANGE)


def _place(
    rng: np.random.Generator,
    image: np.ndarray,
    outlines: list[list[np.ndarray]],
    center: np.ndarray,
    areas: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Turn, scale and color things so that they stand out from an image at N places (N, 2)."""
    num, size = len(center), len(image)
    x, y = np.clip((center * size).astype(int), 0, size - 1).T
    luma = image[y, x].mean(axis=1)
    # As many lighter as darker ones, or images would differ in brightness more than in shapes.
    sign = 1 - 2 * rng.permutation(np.arange(num) % 2)
    luma += sign * rng.uniform(*_LUMA_GAP_RANGE, size=num)
    colors = luma[:, None] + draw_chroma(rng, _OBJECT_CHROMA_STD, num)
    scale = np.sqrt(rng.uniform(*areas, size=num))
    angle = rng.uniform(0.0, 2.0 * math.pi, size=num)
    return fill_objects(size, outlines, center, scale, angle, colors)


def _draw_light(rng: np.random.Generator, size: int) -> np.ndarray:
    """Factors (size, size, 1) float32 that change smoothly over the image."""
    coarse = rng.uniform(*_LIGHT_RANGE, size=(3, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
