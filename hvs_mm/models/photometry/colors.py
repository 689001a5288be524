"""Upstream's changes of color for a batch, with separate values for each image.

``kornia.augmentation`` differs from upstream: its ``ColorJitter`` adds to the brightness, blends
the contrast with black, draws one order for the whole batch and never rounds. We use kornia's plain
functions where they take one value per image, are fast, and do not wait for the device.

Every function takes RGB images, (N, 3, H, W) float32, its values, (N, w) float32, and the weights
of gray, (3,), and returns the changed images. Before and after each one the images hold integers
from 0 to 255: upstream's are 8-bit, and the fractions that Pillow drops would add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Pillow's weights of red, green and blue (ITU-R 601-2), in 65536ths.
LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)
#: Hides the rounding errors of float32 before numbers are truncated.
_EPSILON = 1e-3


def change_brightness(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with black, as Pillow's ``ImageEnhance.Brightness``; a factor of 1 changes nothing."""
    from kornia.enhance import adjust_brightness_accumulative

    return _truncate(adjust_brightness_accumulative(images, factors[:, 0], clip_output=False))


def change_contrast(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with the mean gray, as Pillow's ``ImageEnhance.Contrast``; 1 changes nothing."""
    # (N, 1, 1, 1)
    mean = (_gray(images, luma).mean((1, 2, 3), keepdim=True) + 0.5).floor()
    return _blend(mean, images, factors)


def change_saturation(images: Tensor, factors: Tensor, luma: Tensor) -> Tensor:
    """Blend with the gray image, as Pillow's ``ImageEnhance.Color``; 1 changes nothing."""
    return _blend(_gray(images, luma), images, factors)


def shift_hue(images: Tensor, shifts: Tensor, luma: Tensor) -> Tensor:
    """Shift the hue, as torchvision and MMCV do with Pillow's 8-bit HSV.

    The shifts are integers, and 256 of them are the whole circle.
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
    """Put the weighted mean of the channels into all three; weights of blue, green and red."""
    weights = weights.flip(1)[:, :, None, None]
    return _truncate((images * weights).sum(1, keepdim=True) + _EPSILON).repeat(1, 3, 1, 1)


def solarize(images: Tensor, thresholds: Tensor, luma: Tensor) -> Tensor:
    """Invert the gray levels from a threshold on."""
    return torch.where(images < thresholds[:, :, None, None], images, 255 - images)


def _gray(images: Tensor, luma: Tensor) -> Tensor:
    """(N, 1, H, W), rounded as Pillow does."""
    from kornia.color import rgb_to_grayscale

    return (rgb_to_grayscale(images, luma) + 0.5).floor()


def _blend(start: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    return _truncate(start + factors[:, :, None, None] * (images - start))


def _truncate(images: Tensor) -> Tensor:
    """Integer levels, as a conversion to 8 bits leaves them."""
    return images.clamp(0, 255).floor()
