"""Shift the hue of an image as MMCV does with Pillow.

Pillow turns every pixel into hue, saturation and value of 8 bits each and back. Every quotient
depends on two numbers of a pixel, and is looked up in a table of all their values:

- the hue, on the order of the three channels, the range ``max - min`` and ``max - mid``,
- value times saturation, on ``max`` and ``min``,
- the share of it by which each channel falls short of ``max``, on the new hue.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """As ``mmcv.adjust_hue(image, shift, backend='pillow')``, bit for bit.

    The image is (H, W, 3) uint8, BGR; the shift a share of the color circle, in [-0.5, 0.5].
    """
    hue, lacking = _tables()
    b, g, r = cv2.split(image)
    high = cv2.max(cv2.max(b, g), r)
    low = cv2.min(cv2.min(b, g), r)
    # XOR of the three channels with the highest and the lowest leaves the middle one.
    middle = b ^ g ^ r ^ high ^ low
    # Three comparisons give the order, and the channel that Pillow takes as the highest of equals.
    order = (
        (cv2.compare(r, g, cv2.CMP_GE) & np.uint8(1))
        | (cv2.compare(g, b, cv2.CMP_GE) & np.uint8(2))
        | (cv2.compare(r, b, cv2.CMP_GE) & np.uint8(4))
    )
    old = _look_up(hue, high - middle, high - low, order)
    chroma = _look_up(_chroma(), low, high)
    # The hue wraps around: the table holds the circle twice.
    start = int(shift * 255) % 256
    channels = []
    for table in lacking:
        missing = cv2.multiply(chroma, cv2.LUT(old, table[start : start + 256]))
        channels.append(cv2.subtract(high, missing, dtype=cv2.CV_8U))
    return cv2.merge(channels)


def _look_up(
    table: np.ndarray, column: np.ndarray, row: np.ndarray, page: np.ndarray | None = None
) -> np.ndarray:
    """``table[page * 256 + row, column]`` for each pixel, all (H, W) uint8."""
    zero = np.zeros_like(column)
    # The bytes of two 16-bit coordinates, as OpenCV takes them.
    xy = cv2.merge((column, zero, row, zero if page is None else page))
    return cv2.remap(table, xy.view('<i2'), None, cv2.INTER_NEAREST)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Hue (8 * 256, 256) uint8 by order, range and ``max - mid``; shortfall (3, 512) float32 of B,
    G and R by hue, in [0, 1]."""
    pages = [_page(order) for order in range(8)]
    sixth = np.arange(256) * 6.0 / 255.0
    part = sixth - np.floor(sixth)
    sector = np.floor(sixth).astype(int) % 6
    none, full = np.zeros(256), np.ones(256)
    # The six sectors from red over green and blue to red.
    red = np.choose(sector, [none, part, full, full, 1 - part, none])
    green = np.choose(sector, [1 - part, none, none, part, full, full])
    blue = np.choose(sector, [full, full, 1 - part, none, none, part])
    lacking = np.stack([blue, green, red]).astype(np.float32)
    return np.concatenate(pages), np.concatenate([lacking, lacking], axis=1)


def _page(order: int) -> np.ndarray:
    """Hue (256, 256) uint8 by range and ``max - mid`` for one order of the channels."""
    span, gap = np.mgrid[:256, :256].astype(np.float32)
    # As in Pillow: quotients of 32 bits, sums of 64, rounded to 32. No color has a gap above its
    # range.
    quotient = np.divide(gap, span, out=np.zeros_like(gap), where=span > 0)
    quotient = np.minimum(quotient, 1).astype(np.float64)
    red_first, green_second, red_third = (bool(order & bit) for bit in (1, 2, 4))
    if red_first and red_third:
        sixth = 1 - quotient if green_second else quotient - 1
    elif green_second:
        sixth = 2 + quotient - 1 if red_third else 2 + 1 - quotient
    else:
        sixth = 4 + 1 - quotient if red_first else 4 + quotient - 1
    sixth = sixth.astype(np.float32).astype(np.float64)
    turns = np.fmod(sixth / 6 + 1, 1).astype(np.float32)
    hue = np.clip((turns.astype(np.float64) * 255).astype(int), 0, 255).astype(np.uint8)
    hue[0] = 0
    return hue


@cache
def _chroma() -> np.ndarray:
    """Value times saturation (256, 256) float32 by max and min, of Pillow's 8-bit saturation."""
    high, low = np.mgrid[:256, :256].astype(np.float32)
    saturation = np.divide(high - low, high, out=np.zeros_like(high), where=high > low)
    levels = np.floor(saturation.astype(np.float64) * 255).astype(np.float32)
    return (high * (levels.astype(np.float64) / 255)).astype(np.float32)
