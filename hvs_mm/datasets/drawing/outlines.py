"""Outlines of the ten classes."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np


def _points(angle: np.ndarray, radius: np.ndarray | float = 1.0) -> np.ndarray:
    """Points (K, 2) around the origin at K angles."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _circle(radius: float) -> np.ndarray:
    return _points(np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False), radius)


def _star(points: int, inner_radius: float) -> np.ndarray:
    corner = np.arange(2 * points)
    return _points(corner * math.pi / points, np.where(corner % 2 == 0, 1.0, inner_radius))


def _crescent(inner_radius: float, offset: float) -> np.ndarray:
    """A unit disc with a shifted disc bitten out of it."""
    # Where the two circles meet, seen from the center of each of them.
    cut_x = (1.0 - inner_radius**2 + offset**2) / (2.0 * offset)
    cut_y = math.sqrt(1.0 - cut_x**2)
    outer_start = math.atan2(cut_y, cut_x)
    inner_start = math.atan2(cut_y, cut_x - offset)
    outer = np.linspace(outer_start, 2.0 * math.pi - outer_start, 48)
    inner = np.linspace(2.0 * math.pi - inner_start, inner_start, 32)
    return np.concatenate([_points(outer), _points(inner, inner_radius) + [offset, 0.0]])


def _heart() -> np.ndarray:
    """A square standing on a corner, with a half disc on each of its two upper sides."""
    # In the axes of the square.
    lobe = _points(np.linspace(0.0, math.pi, 31))
    top, side = lobe + [0.0, 1.0], lobe[:, ::-1] * [-1.0, 1.0] - [1.0, 0.0]
    return np.concatenate([[[1.0, -1.0]], top, side])


#: Outlines by class, each (K, 2): points inside an odd number of them are inside the shape.
_OUTLINES: dict[str, list[Any]] = {
    'arrow': [
        [(2, 0), (0.3, 1.5), (0.3, 0.6), (-1.9, 0.6), (-1.9, -0.6), (0.3, -0.6), (0.3, -1.5)]
    ],
    'crescent': [_crescent(inner_radius=0.8, offset=0.55)],
    'cross': [
        [(3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1)]
        + [(-3, -1), (-1, -1), (-1, -3), (1, -3), (1, -1), (3, -1)]
    ],
    'disc': [_circle(1.0)],
    'heart': [_heart()],
    'hourglass': [[(1.25, 1), (0, 0.12), (-1.25, 1), (-1.25, -1), (0, -0.12), (1.25, -1)]],
    'ring': [_circle(1.0), _circle(0.6)[::-1]],
    'square': [[(1, 1), (-1, 1), (-1, -1), (1, -1)]],
    'star': [_star(points=5, inner_radius=0.42)],
    'triangle': [[(math.cos(a), math.sin(a)) for a in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]],
}
CLASSES = tuple(_OUTLINES)


@cache
def unit_outlines() -> tuple[list[np.ndarray], ...]:
    """Outlines by class, with area 1 and the centroid in the origin.

    Neither the size nor the position of a drawn shape then tells its class.
    """
    shapes = []
    for raw in _OUTLINES.values():
        outlines = [np.asarray(outline, dtype=np.float64) for outline in raw]
        area, moment = 0.0, 0.0
        for outline in outlines:
            following = np.roll(outline, -1, axis=0)
            cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
            area += cross.sum() / 2.0
            moment += ((outline + following) * cross[:, None]).sum(axis=0) / 6.0
        shapes.append([(outline - moment / area) / math.sqrt(abs(area)) for outline in outlines])
    return tuple(shapes)


@cache
def reach() -> float:
    """Largest distance of a point of any unit shape from its centroid."""
    return max(float(np.hypot(*outline.T).max()) for shape in unit_outlines() for outline in shape)
