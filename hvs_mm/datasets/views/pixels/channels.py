"""Operations on images of any number of channels, (H, W, C) float32.

Nothing is rounded or clipped: 16-bit values keep their bits, and the unit is that of the file.
"""

from __future__ import annotations

from math import ceil

import cv2
import numpy as np
import torch
from torch.nn import functional as F

#: Standard deviations that a blur reaches, after which its weights are below 4e-4 of the highest.
_REACH = 4


def resize_channels(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize to (h, w) with antialiasing: Pillow's filters and passes, without its rounding.

    ``interpolation`` is ``'bilinear'`` or ``'bicubic'``.
    """
    # (H, W, C) -> (1, C, H, W); a copy, as PyTorch warns about read-only arrays.
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).unsqueeze(0)
    resized = F.interpolate(pixels, tuple(size), mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values."""
    return image * np.float32(factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the deviations from the mean of each channel."""
    mean = image.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return mean + np.float32(factor) * (image - mean)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur each channel, with a standard deviation in pixels; the border is repeated."""
    if sigma == 0:
        return image
    side = 2 * ceil(_REACH * sigma) + 1
    blurred = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    # OpenCV drops the axis of a single channel.
    return blurred.reshape(image.shape)
