"""Draw the boxes of random resized crops of a batch of images."""

from __future__ import annotations

from typing import Any

import numpy as np


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
