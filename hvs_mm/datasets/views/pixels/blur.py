"""Blur an image as Pillow's ``GaussianBlur`` does: with three box filters a direction.

Source: P. Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box
filtering", 2011, which Pillow names.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_PASSES = 3
_UNIT = 2**24
_ONE = np.ones(1, dtype=np.float32)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (H, W, 3) uint8 as Pillow's ``GaussianBlur(sigma)``, which rounds after every pass.

    ``sigma`` is the standard deviation in pixels, at least 0. Sums halfway between two levels may
    be rounded unlike in Pillow: hardly ever for a random ``sigma``, more often where weights are
    simple fractions.
    """
    kernel = box_kernel(sigma)
    for across, down in ((kernel, _ONE), (_ONE, kernel)):
        for _ in range(_PASSES):
            blurred = cv2.sepFilter2D(
                image, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE
            )
            image = cv2.convertScaleAbs(blurred)
    return image


def box_kernel(sigma: float) -> np.ndarray:
    """Weights (2 r + 3,) float32 of one pass: equal except for the outermost ones.

    Their sum is 1, their variance ``sigma**2 / 3``. They are multiples of 2**-24, as Pillow's fixed
    point numbers.
    """
    variance = sigma**2 / _PASSES
    inner = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    # The fraction of a pixel by which the box is longer on each side.
    part = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance)
    part /= 6 * (variance - (inner + 1) ** 2)
    weight = int(_UNIT / (2 * (inner + part) + 1))
    kernel = np.full(2 * inner + 3, weight, dtype=np.float32)
    kernel[[0, -1]] = (_UNIT - (2 * inner + 1) * weight) // 2
    return kernel / np.float32(_UNIT)
