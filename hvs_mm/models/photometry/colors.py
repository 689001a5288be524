"""Upstream's changes of color for a batch, with values of its own for each image.

``kornia.augmentation`` differs from upstream: its ``ColorJitter`` adds to the brightness, blends
the contrast with black, draws one order for the whole batch and rounds nowhere. So its plain
functions are used, where they take one value per image and do not wait for the device. Its hue
(2.6 times slower than the one below on a CPU, with 18 more planes in memory) and its solarization
(which stacks a threshold per pixel) are left aside; its contrast and saturation copy the weights
of gray from the host at every call.

Images are RGB, (N, 3, H, W) float32, and hold whole gray levels from 0 to 255 before and after
each function: upstream's are 8-bit, and the fractions that Pillow cuts off would add up. ``luma``
(3,) are the weights of gray, which not every function needs.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Pillow's weights of red, green and blue (ITU-R 601-2), in 65536ths.
LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)
#: Hides the rounding errors of float32 where whole numbers are cut off.
_EPSILON = 1e-3


def change_brightness(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with black by ``factors`` (N, 1), as Pillow's ``ImageEnhance.Brightness``."""
    from kornia.enhance import adjust_brightness_accumulative

    return _cut(adjust_brightness_accumulative(images, factors[:, 0], clip_output=False))


def change_contrast(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with the mean gray by ``factors`` (N, 1), as Pillow's ``ImageEnhance.Contrast``."""
    # (N, 1, 1, 1)
    mean = (_gray(images, luma).mean((1, 2, 3), keepdim=True) + 0.5).floor()
    return _blend(mean, images, factors)


def change_saturation(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with the gray image by ``factors`` (N, 1), as Pillow's ``ImageEnhance.Color``."""
    return _blend(_gray(images, luma), images, factors)


def shift_hue(images: Tensor, shifts: Tensor, luma: Tensor) -> Tensor:
    """Turn the colors, as torchvision and MMCV do with Pillow's 8-bit HSV.

    ``shifts`` (N, 1) are whole numbers of Pillow's hue, of which 256 are the whole circle.
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    divisor = chroma.clamp(min=1)
    # (N, H, W): sixths of the circle
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # Pillow keeps hue and saturation in 8 bits, adds modulo 256 and divides by 255.
    hue = (torch.remainder(hue / 6, 1) * 255 + _EPSILON).floor()
    hue = torch.remainder(hue + shifts[:, :, None], 256) * (6 / 255)
    saturation = (chroma / value.clamp(min=1) * 255 + _EPSILON).floor() / 255
    chroma = value * saturation
    # The three channels follow one curve, two sixths apart from each other.
    channels = []
    for start in (5, 3, 1):
        place = torch.remainder(hue + start, 6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1).round()


def turn_gray(images: Tensor, weights: Tensor, luma: Tensor) -> Tensor:
    """Put the mean of the channels, weighted (N, 3) blue, green and red, into all three."""
    weights = weights.flip(1)[:, :, None, None]
    return _cut((images * weights).sum(1, keepdim=True) + _EPSILON).repeat(1, 3, 1, 1)


def solarize(images: Tensor, thresholds: Tensor, luma: Tensor) -> Tensor:
    """Invert the levels from ``thresholds`` (N, 1) on."""
    return torch.where(images < thresholds[:, :, None, None], images, 255 - images)


def _gray(images: Tensor, luma: Tensor) -> Tensor:
    """(N, 1, H, W), rounded as Pillow does."""
    from kornia.color import rgb_to_grayscale

    return (rgb_to_grayscale(images, luma) + 0.5).floor()


def _blend(start: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    return _cut(start + factors[:, :, None, None] * (images - start))


def _cut(images: Tensor) -> Tensor:
    """Whole levels, as a conversion to 8 bits leaves them."""
    return images.clamp(0, 255).floor()
