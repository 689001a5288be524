"""Images in which every place looks different, as in photographs."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .outlines import unit_outlines
from .paint import draw_chroma, draw_noise, draw_texture, fill_objects

#: Patches of ground, each with a color and a texture of its own.
_GROUNDS = 3
_GROUND_LUMA_RANGE = (105.0, 150.0)
_GROUND_CHROMA_STD = 30.0
_GROUND_TEXTURE_RANGE = (4.0, 12.0)
#: Objects of the image's class stand in random cells of a grid, and so does the clutter.
_GRID = 3
_OBJECTS = 7
#: Areas as fractions of the image's.
_OBJECT_AREA_RANGE = (0.02, 0.045)
_CLUTTER_AREA_RANGE = (0.003, 0.01)
_JITTER = 0.1
#: Luma of an object minus that of the ground it stands on.
_LUMA_GAP_RANGE = (60.0, 100.0)
_OBJECT_CHROMA_STD = 35.0
#: Light falls off by this factor at most, from the brightest to the darkest place.
_SHADE = 0.35
_NOISE_STD = 4.0


def draw_scene(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw an image (size, size, 3) float32, BGR, of several objects among clutter.

    Ground, objects, clutter and light change over the image, so that two crops have the less in
    common the less they overlap. Only the outline of the objects depends on the label.
    """
    ground = _draw_ground(rng, size)
    clutter, hidden = _draw_clutter(rng, ground, size)
    image = clutter + (1.0 - hidden) * ground
    objects, hidden = _draw_objects(rng, label, image, size)
    image = objects + (1.0 - hidden) * image
    return image * _draw_light(rng, size) + draw_noise(rng, size, _NOISE_STD)


def _draw_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Patches around random points, (size, size, 3) float32."""
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    points = rng.uniform(0.0, 1.0, size=(_GROUNDS, 2)).astype(np.float32)
    # (grounds, size, size): squared distance from each point
    distance = np.square(axis - points[:, :1])[:, None, :] + np.square(axis - points[:, 1:])[..., None]
    nearest = distance.argmin(axis=0)
    luma = rng.uniform(*_GROUND_LUMA_RANGE, size=(_GROUNDS, 1))
    colors = (luma + draw_chroma(rng, _GROUND_CHROMA_STD, _GROUNDS)).astype(np.float32)
    swing = rng.uniform(*_GROUND_TEXTURE_RANGE, size=_GROUNDS).astype(np.float32)
    textures = np.stack([draw_texture(rng, size) for _ in range(_GROUNDS)]) * swing[:, None, None]
    texture = np.take_along_axis(textures, nearest[None], axis=0)[0]
    return colors[nearest] + texture[..., None]


def _contrasting(rng: np.random.Generator, image: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Colors (N, 3) that stand out from an image at N places."""
    places = np.clip((center * len(image)).astype(int), 0, len(image) - 1)
    luma = image[places[:, 1], places[:, 0]].mean(axis=1)
    gap = rng.uniform(*_LUMA_GAP_RANGE, size=len(center))
    luma = np.where(luma < 127.5, luma + gap, luma - gap)
    return luma[:, None] + draw_chroma(rng, _OBJECT_CHROMA_STD, len(center))


def _draw_objects(rng, label, image, size):
    cells = rng.permutation(_GRID**2)[:_OBJECTS]
    center = (np.stack([cells % _GRID, cells // _GRID], axis=1) + 0.5) / _GRID
    center += rng.uniform(-_JITTER, _JITTER, size=center.shape)
    scale = np.sqrt(rng.uniform(*_OBJECT_AREA_RANGE, size=_OBJECTS))
    angle = rng.uniform(0.0, 2.0 * math.pi, size=_OBJECTS)
    outlines = [unit_outlines()[label]] * _OBJECTS
    return fill_objects(size, outlines, center, scale, angle, _contrasting(rng, image, center))


def _draw_clutter(rng, image, size, num=6, corners=9):
    center = rng.uniform(0.0, 1.0, size=(num, 2))
    scale = np.sqrt(rng.uniform(*_CLUTTER_AREA_RANGE, size=num))
    angle = rng.uniform(0.0, 2.0 * math.pi, size=num)
    around = np.linspace(0.0, 2.0 * math.pi, corners, endpoint=False)
    radius = rng.uniform(0.3, 0.9, size=(num, corners))
    # Stretched, so that none is a disc.
    stretch = np.sqrt(rng.uniform(1.5, 4.0, size=(num, 1)))
    points = np.stack([radius * np.cos(around) * stretch, radius * np.sin(around) / stretch], axis=2)
    colors = _contrasting(rng, image, center)
    return fill_objects(size, [[one] for one in points], center, scale, angle, colors)


def _draw_light(rng: np.random.Generator, size: int) -> np.ndarray:
    """Factors (size, size, 1) float32, which change smoothly over the image."""
    coarse = rng.uniform(1.0 - _SHADE, 1.2, size=(3, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
