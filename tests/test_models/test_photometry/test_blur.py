"""The filters of the blur against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.models.photometry.blur import blur_kernels
from tests.test_models.test_photometry.test_batch import blurred


@pytest.mark.parametrize('sigma', [0.1, 0.5, 1.0, 2.0, 3.7])
def test_the_filter_is_pillows(sigma):
    """On a line of whole steps the filter shows; the widths beyond it are 0."""
    narrow, wide = blur_kernels(np.array([sigma, 5.0])), blur_kernels(np.array([sigma]))
    assert narrow.shape[1] >= wide.shape[1]
    for kernel in (narrow[0], wide[0]):
        assert kernel.sum() == pytest.approx(1)
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        assert (kernel * offsets).sum() == pytest.approx(0, abs=1e-12)
        # The mark of Gwosdek's filter: its variance is exactly the Gaussian's.
        assert (kernel * offsets**2).sum() == pytest.approx(sigma**2)
    edge = np.zeros((41, 41, 3), np.uint8)
    edge[:, 20:] = 255
    expected = blurred(edge, sigma)[20, :, 0].astype(float)
    middle = np.convolve(np.pad(edge[0, :, 0].astype(float), len(wide[0]) // 2, 'edge'), wide[0])
    start = len(wide[0]) - 1
    assert np.abs(middle[start : start + 41] - expected).max() < 2


def test_no_blur_is_the_identity():
    assert blur_kernels(np.zeros(1)).round(12).tolist() == [[0, 0, 0, 1, 0, 0, 0]]
