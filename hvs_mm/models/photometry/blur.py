"""Pillow's Gaussian blur as one separable filter per view."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.backends import cudnn

#: Number of boxes that Pillow filters with, one after the other.
_PASSES = 3


def blur_kernels(sigmas: np.ndarray) -> np.ndarray:
    """Compute the filters (N, taps) float64 that Pillow's ``GaussianBlur`` applies along each axis.

    Pillow approximates the Gaussian by three passes of a box whose outermost taps have a fraction
    of the weight, chosen so that the variances add up to that of the Gaussian (`Gwosdek et al.,
    2011 <https://www.mia.uni-saarland.de/Publications/gwosdek-ssvm11.pdf>`_, equations 7, 11, 14).
    The three are convolved into one filter here, which adds up to 1. The ``sigmas`` (N,) are
    standard deviations in pixels, at least 0; 0 gives the identity.
    """
    variance = sigmas.astype(np.float64) ** 2 / _PASSES
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    fraction /= 6 * (variance - (whole + 1) ** 2)
    reach = int(whole.max(initial=0)) + 1
    # (N, 2 reach + 1): 1 inside a box, the fraction at its ends, 0 beyond
    distance = np.abs(np.arange(-reach, reach + 1))
    box = np.where(distance <= whole[:, None], 1.0, 0.0)
    box = np.where(distance == whole[:, None] + 1, fraction[:, None], box)
    box /= box.sum(1, keepdims=True)
    kernel = box
    for _ in range(_PASSES - 1):
        wider = np.zeros((len(kernel), kernel.shape[1] + 2 * reach))
        for tap in range(2 * reach + 1):
            wider[:, tap : tap + kernel.shape[1]] += box[:, tap, None] * kernel
        kernel = wider
    return kernel


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter images (N, 3, H, W), 0 to 255, along both axes with kernels (N, taps), all float32.

    Borders are repeated.
    """
    from kornia.filters import filter2d_separable

    # The number of images differs from batch to batch: cuDNN would search for the best algorithm
    # each time.
    benchmark, cudnn.benchmark = cudnn.benchmark, False
    try:
        return filter2d_separable(images, kernels, kernels, border_type='replicate').round()
    finally:
        cudnn.benchmark = benchmark
