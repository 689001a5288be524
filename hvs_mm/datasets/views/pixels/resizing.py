"""Resize and flip color images."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

#: Interpolations of :func:`resize`: MMCV's name and Pillow's.
INTERPOLATIONS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}

#: PyTorch is fast at resampling 8-bit images on these processors only.
_VECTORIZED = torch.backends.cpu.get_cpu_capability() in ('AVX2', 'AVX512')

_CV2_FLIPS = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (h, w) with antialiasing, as ``mmcv.imresize`` does by Pillow.

    PyTorch's own resampling of 8-bit images has Pillow's filters and Pillow's two passes, each
    rounded, with weights of 16 bits: bilinear values differ from Pillow's by one level at most,
    bicubic ones by two. Pillow takes over on processors without these vector instructions. The
    result is contiguous and no view of ``image``.
    """
    # PyTorch warns about read-only arrays, and Pillow is slow on windows.
    image = image.copy()
    if not _VECTORIZED:
        height, width = size
        method = INTERPOLATIONS[interpolation]
        return np.array(Image.fromarray(image).resize((width, height), method))
    # PyTorch keeps the memory layout of a batch of one that is contiguous.
    pixels = torch.from_numpy(image).unsqueeze(0)
    # (1, H, W, 3) -> (1, 3, H, W)
    resized = F.interpolate(
        pixels.permute(0, 3, 1, 2), tuple(size), mode=interpolation, antialias=True
    )
    # (1, 3, h, w) -> (h, w, 3)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def shrink(image: np.ndarray, side: int) -> np.ndarray:
    """Reduce (H, W, 3) uint8 to a longer side of ``side`` pixels by averages over areas.

    An image that is not larger is returned as it is.
    """
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    height, width = (max(1, round(pixels * side / longer)) for pixels in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def flip(image: np.ndarray, direction: str) -> np.ndarray:
    """Mirror (H, W, 3) uint8 as ``mmcv.imflip``, into a new array.

    It is contiguous: later transforms are slow on reversed arrays.
    """
    return cv2.flip(image, _CV2_FLIPS[direction])
