"""Mean and standard deviation of the channels of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ChannelStatistics(NamedTuple):
    """Statistics of all pixels of some images, a number for each channel, in units of the file.

    Attributes:
        mean, std: As ``numpy.mean`` and ``numpy.std`` give them; ``std`` is 1 for a channel that is
            constant, which normalizes it to 0.
        images: How many images were read.
    """

    mean: list[float]
    std: list[float]
    images: int


def channel_statistics(images: Iterable[np.ndarray]) -> ChannelStatistics:
    """Measure images (H, W, C) of any sizes, one after the other, in double precision.

    Means and sums of squared deviations are joined image by image, which loses no digits where
    sums of squares would (T. F. Chan et al., "Updating formulae and a pairwise algorithm for
    computing sample variances", 1979).

    Raises:
        ValueError: If there are no images, or they differ in their channels.
    """
    number, count = 0, 0
    mean = deviations = np.zeros(1)
    for image in images:
        # (H, W, C) -> (H W, C)
        pixels = image.reshape(-1, image.shape[2]).astype(np.float64)
        if number and pixels.shape[1] != len(mean):
            raise ValueError(
                f'image {number} has {pixels.shape[1]} channels, those before it have {len(mean)}.'
            )
        own = pixels.mean(axis=0)
        difference, total = own - mean, count + len(pixels)
        deviations = deviations + ((pixels - own) ** 2).sum(axis=0)
        deviations = deviations + difference**2 * (count * len(pixels) / total)
        mean = mean + difference * (len(pixels) / total)
        number, count = number + 1, total
    if not number:
        raise ValueError('there are no images to measure.')
    std = np.sqrt(deviations / count)
    return ChannelStatistics(mean.tolist(), np.where(std > 0, std, 1.0).tolist(), number)
