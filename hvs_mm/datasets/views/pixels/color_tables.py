"""Jitter, grayscale and solarization as MMCV and MMPretrain do them with Pillow.

Images are (H, W, 3) uint8, BGR. An operation on single values is a table of 256 entries, computed
with the numbers and the rounding of Pillow's ``Image.blend``: 32-bit floats, cut to integers.
"""

from __future__ import annotations

import cv2
import numpy as np

_VALUES = np.arange(256, dtype=np.float32)

#: ITU-R 601-2 luma in Pillow's fixed point, for B, G, R: exact in 32-bit floats.
_LUMA = np.array([[7471, 38470, 19595]], dtype=np.float32) / 65536

#: Turns OpenCV's rounding into truncation; the small rest keeps integers from dropping a level.
_CUT = -0.5 + 2**-13


def _luma(image: np.ndarray) -> np.ndarray:
    """Luma (H, W) uint8, rounded as by Pillow except for the one sum in 65536 that is halfway."""
    return cv2.transform(image, _LUMA)


def _blend(level: int, factor: float) -> np.ndarray:
    """Table of ``level + factor * (value - level)``."""
    base = np.float32(level)
    blended = base + np.float32(factor) * (_VALUES - base)
    return np.clip(blended, 0, 255).astype(np.uint8)


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """As ``mmcv.adjust_brightness(image, factor, backend='pillow')``, bit for bit."""
    return cv2.LUT(image, _blend(0, factor))


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """As ``mmcv.adjust_contrast(image, factor, backend='pillow')``, bit for bit."""
    total = cv2.sumElems(_luma(image))[0]
    return cv2.LUT(image, _blend(int(total / (image.size // 3) + 0.5), factor))


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """As ``mmcv.adjust_color(image, factor, backend='pillow')``, within one level."""
    luma = cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(image, factor, luma, 1 - factor, _CUT)


def to_grayscale(image: np.ndarray, *weights: float) -> np.ndarray:
    """As MMCV's ``RandomGrayscale`` with ``keep_channels=True``, bit for bit.

    There is one weight per channel, and they add up to 1.
    """
    # Upstream's terms in upstream's order: it cuts their sum to an integer, and the sums of gray
    # pixels are integers but for rounding.
    table = np.array(weights)[:, None] * np.arange(256)
    first, second, third = (cv2.LUT(c, t) for c, t in zip(cv2.split(image), table))
    first += second
    first += third
    gray = first.astype(np.uint8)
    return cv2.merge((gray, gray, gray))


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """As ``mmcv.solarize``, bit for bit: invert all values from ``threshold`` on."""
    values = np.arange(256)
    return cv2.LUT(image, np.where(values < threshold, values, 255 - values).astype(np.uint8))
