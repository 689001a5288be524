"""Random resized crops of a batch of images, with separate boxes for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hvs_mm.utils.precision import full_precision

#: Reach of Pillow's filters, in pixels of the larger of the two images, and their ``a``.
_SUPPORT = {'bilinear': 1.0, 'bicubic': 2.0}
_CUBIC = -0.5


def draw_boxes(
    crop: Any, height: int, width: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Boxes ``x1, y1, x2, y2`` (count, 4) int64, with the distribution of a ``RandomResizedCrop``.

    All attempts of all boxes are drawn at once; the first valid one counts.
    """
    shape = crop.max_attempts, count
    area = rng.uniform(*crop.crop_ratio_range, shape) * (height * width)
    aspect = np.exp(rng.uniform(*np.log(crop.aspect_ratio_range), shape))
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    place = rng.random((2, count))
    is_valid = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, columns = is_valid.argmax(0), np.arange(count)
    w, h = widths[first, columns], heights[first, columns]
    x, y = (np.floor(p * (n + 1)).astype(np.int64) for p, n in zip(place, (width - w, height - h)))
    boxes = np.stack([x, y, x + w, y + h], axis=1)
    boxes[~is_valid.any(0)] = _center_box(crop, height, width)
    return boxes


def _center_box(crop: Any, height: int, width: int) -> tuple[int, int, int, int]:
    """What upstream falls back to after its last attempt."""
    low, high = min(crop.aspect_ratio_range), max(crop.aspect_ratio_range)
    w, h = width, height
    if width / height < low:
        h = round(w / low)
    elif width / height > high:
        w = round(h * high)
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def resampling_weights(
    start: Tensor, stop: Tensor, size: int, extent: int, interpolation: str, backend: str
) -> Tensor:
    """Weights (..., size, extent) float32 that resample a window of a row of pixels.

    With ``backend='pillow'`` the filters are Pillow's, which grow with the factor of reduction;
    with ``'cv2'`` OpenCV's bilinear ones, which do not.

    Args:
        start, stop: (...) bounds of the window in pixels, the upper one exclusive.
        size: Pixels of the result.
        extent: Pixels of the row.
    """
    start, length = start[..., None].float(), (stop - start)[..., None].float()
    scale = length / size
    # (..., size), in pixels of the row, whose first has its center at 0
    center = (torch.arange(size, device=start.device) + 0.5) * scale - 0.5
    pixels = torch.arange(extent, device=start.device, dtype=torch.float32)
    if backend == 'cv2':
        center = torch.minimum(center.clamp(min=0), length - 1) + start
        # (..., size, extent)
        return (1 - (pixels - center[..., None]).abs()).clamp_(min=0)
    reach = scale.clamp(min=1)
    distance = (pixels - (center + start)[..., None]).abs_().div_(reach[..., None])
    weights = _cubic(distance) if interpolation == 'bicubic' else (1 - distance).clamp_(min=0)
    is_inside = (pixels >= start) & (pixels < start + length)
    weights = weights * is_inside[..., None, :]
    return weights / weights.sum(-1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic filter at distances of at least 0."""
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < _SUPPORT['bicubic'], far, 0.0))


@full_precision
@torch.no_grad()
def resize_boxes(
    images: Tensor,
    boxes: Tensor,
    flips: Tensor,
    size: Sequence[int],
    interpolation: str,
    backend: str,
) -> Tensor:
    """Cut V boxes out of each of B images and resize them.

    Both passes are matrix products with the whole image, so boxes of all sizes go together. As in
    Pillow the first is horizontal, and its result is rounded; OpenCV rounds once.

    Args:
        images: (B, H, 3, W) uint8.
        boxes: (B, V, 4) int64, ``x1, y1, x2, y2``.
        flips: (B, V, 2) bool, mirrored horizontally, vertically.
        size: (height, width) of the result.

    Returns:
        (B, V, 3, height, width) float32, integers from 0 to 255.
    """
    count, height, _, width = images.shape
    x1, y1, x2, y2 = boxes.unbind(-1)
    across = resampling_weights(x1, x2, size[1], width, interpolation, backend)
    down = resampling_weights(y1, y2, size[0], height, interpolation, backend)
    across = torch.where(flips[..., 0, None, None], across.flip(-2), across)
    down = torch.where(flips[..., 1, None, None], down.flip(-2), down)
    # (B, H 3, W) x (B, W, V w) -> (B, H 3, V w)
    rows = images.flatten(1, 2).float() @ across.flatten(1, 2).mT
    # (B, H, 3, V, w) -> (B, V, H, 3 w)
    rows = rows.view(count, height, 3, -1, size[1]).permute(0, 3, 1, 2, 4).flatten(3)
    if backend == 'pillow':
        rows = _round(rows)
    # (B, V, h, H) x (B, V, H, 3 w) -> (B, V, h, 3 w)
    views = _round(down @ rows)
    # (B, V, h, 3, w) -> (B, V, 3, h, w)
    return views.unflatten(3, (3, -1)).transpose(2, 3)


def _round(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)
