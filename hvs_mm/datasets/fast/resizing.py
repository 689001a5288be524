"""Resize and flip color images."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional as F

#: Interpolations that :func:`resize` has, by their names in MMCV.
INTERPOLATIONS = ('bilinear', 'bicubic')

_CV2_FLIPS = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize with antialiasing, as ``mmcv.imresize(..., backend='pillow')``.

    PyTorch's own resampling of 8-bit images has Pillow's filters and Pillow's two passes, each
    rounded, with weights of 16 bits: no value differs from Pillow's by more than one level.

    Args:
        image: (H, W, 3) uint8, such as a window of a larger image; nothing outside of it is read.
        size: (height, width) in pixels.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Returns:
        (height, width, 3) uint8, contiguous, no view of ``image``.
    """
    # PyTorch warns of read-only arrays; a contiguous batch of one lets it keep the layout.
    pixels = torch.from_numpy(image.copy()).unsqueeze(0)
    # (1, H, W, 3) -> (1, 3, H, W)
    resized = F.interpolate(
        pixels.permute(0, 3, 1, 2),
        size=tuple(size),
        mode=interpolation,
        align_corners=False,
        antialias=True,
    )
    # (1, 3, h, w) -> (h, w, 3)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def flip(image: np.ndarray, direction: str) -> np.ndarray:
    """Mirror, as ``mmcv.imflip``, but into an array of its own.

    Args:
        image: (H, W, 3) uint8.
        direction: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both).

    Returns:
        (H, W, 3) uint8, contiguous: all that follows is slow on reversed arrays.
    """
    return cv2.flip(image, _CV2_FLIPS[direction])
