"""Images of any channels and bits as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..datasets.loading.image_kind import RGB

#: Percentiles of a channel that are shown as black and as full.
_RANGE = (1, 99)


def to_pictures(
    image: np.ndarray, views: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """An image and its views, (H, W, C), as pictures (H, W, 3) uint8, RGB.

    Images of 8 bits are BGR. Of others, float32, the first three channels are shown as red, green
    and blue, or the first one in gray if there are fewer. Their range is that of the image, so that
    views show changes of brightness and contrast.
    """
    if image.dtype == np.uint8:
        return image[..., ::-1], [view[..., ::-1] for view in views]
    number = _number_shown(image)
    low, high = np.percentile(image[..., :number], _RANGE, axis=(0, 1))
    scale = 255 / np.maximum(high - low, 1e-6)

    def show(pixels: np.ndarray) -> np.ndarray:
        shown = ((pixels[..., :number] - low) * scale).round().clip(0, 255).astype(np.uint8)
        # (H, W, 1) or (H, W, 3) -> (H, W, 3)
        return np.broadcast_to(shown, (*shown.shape[:2], 3))

    return show(image), [show(view) for view in views]


def describe_shown(image: np.ndarray) -> str:
    """Which channels of an image are shown, ``''`` for all three of 8 bits."""
    channels = image.shape[2]
    if image.dtype == np.uint8 or channels in (1, RGB.channels):
        return ''
    number = _number_shown(image)
    return f'channel 1 of {channels}' if number == 1 else f'channels 1 to 3 of {channels}'


def _number_shown(image: np.ndarray) -> int:
    return 3 if image.shape[2] >= RGB.channels else 1
