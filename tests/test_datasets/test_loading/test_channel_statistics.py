"""Mean and standard deviation of channels."""

from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.datasets import channel_statistics
from tests.helpers.channel_images import noise


def test_they_are_those_of_all_pixels():
    # Far from 0, where sums of squares of float32 would lose the deviations; of several sizes.
    images = [noise(3, 8, (9 + i, 5 + 7 * i), seed=i).astype(np.float32) + 65000 for i in range(5)]
    pixels = np.concatenate([image.reshape(-1, 3).astype(np.float64) for image in images])
    found = channel_statistics(iter(images))
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-10)
    assert found.images == 5


def test_a_constant_channel_can_be_divided_by():
    image = np.stack([np.full((4, 4), 7.0), np.arange(16.0).reshape(4, 4)], axis=2)
    assert channel_statistics([image]).std[0] == 1.0


def test_mistakes():
    with pytest.raises(ValueError, match='there are no images'):
        channel_statistics([])
    with pytest.raises(ValueError, match='image 1 has 2 channels, those before it have 3'):
        channel_statistics([np.zeros((2, 2, 3)), np.zeros((2, 2, 2))])
