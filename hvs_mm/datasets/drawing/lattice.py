"""Images that show copies of one shape on a loose grid, alike everywhere."""

from __future__ import annotations

import math

import numpy as np

from .outlines import reach, unit_outlines
from .paint import draw_chroma, draw_noise, draw_texture, fill_objects

#: Copies of the shape along each side of the image.
_GRID = 3
#: Area of one copy as a fraction of the area of its grid cell.
_AREA_RANGE = (0.13, 0.21)
#: On the 0 to 255 scale. All images have the same background luma, and lighter copies alternate
#: with darker ones: otherwise two crops of one image would share their brightness, which
#: self-supervised training picks up long before the shape.
_BACKGROUND_LUMA = 127.5
#: Exceeds the swing of the textures, so that outlines stay visible in a gray image.
_LUMA_GAP_RANGE = (65.0, 95.0)
_CHROMA_STD = 35.0
_TEXTURE_LUMA_SWING = 6.0
_TEXTURE_CHROMA_STD = 6.0
_NOISE_STD = 3.0


def draw_lattice(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw an image (size, size, 3) float32, BGR, of copies of one shape on a plain background.

    Only the outline of the copies depends on the label: their areas, positions, angles and colors,
    and the color and texture of the background have the same distributions in all classes.
    """
    background = _BACKGROUND_LUMA + draw_chroma(rng, _CHROMA_STD) + _draw_shading(rng, size)
    copies, cover = _draw_copies(rng, label, size)
    image = copies + cover * _draw_shading(rng, size) + (1.0 - cover) * background
    return image + draw_noise(rng, size, _NOISE_STD)


def _draw_copies(rng: np.random.Generator, label: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw copies of a shape on a grid that starts at a random place, see :func:`fill_objects`."""
    # One more row and column than fit: the image border cuts the first and the last ones.
    cells = np.array(list(np.ndindex(_GRID + 1, _GRID + 1)))
    num = len(cells)
    # All lengths are in cells here.
    scale = np.sqrt(rng.uniform(*_AREA_RANGE, size=num))
    # Every class has the room to move of the farthest-reaching one.
    room = 0.5 - scale * reach()
    center = cells + 0.5 - rng.uniform(0.0, 1.0, size=2)
    center += rng.uniform(-1.0, 1.0, size=(num, 2)) * room[:, None]
    angle = rng.uniform(0.0, 2.0 * math.pi, size=num)

    sign = 1 - 2 * ((cells.sum(axis=1) + rng.integers(2)) % 2)
    luma = _BACKGROUND_LUMA + sign * rng.uniform(*_LUMA_GAP_RANGE, size=num)
    colors = luma[:, None] + draw_chroma(rng, _CHROMA_STD, num)
    outlines = [unit_outlines()[label]] * num
    return fill_objects(size, outlines, center, scale, angle, colors, unit=1.0 / _GRID)


def _draw_shading(rng: np.random.Generator, size: int) -> np.ndarray:
    """A faint colored texture (size, size, 3) float32, to be added to an image."""
    swing = draw_chroma(rng, _TEXTURE_CHROMA_STD)
    swing += np.float32(rng.uniform(-_TEXTURE_LUMA_SWING, _TEXTURE_LUMA_SWING))
    return draw_texture(rng, size)[..., None] * swing
