"""Pictures of images that are not 8-bit RGB."""

from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.visualization.shown_channels import describe_shown, to_pictures
from tests.helpers.channel_images import noise


def test_8_bits_are_shown_as_they_are():
    image = noise(3, 8)
    shown, (view,) = to_pictures(image, [image[:4]])
    np.testing.assert_array_equal(shown, image[..., ::-1])
    np.testing.assert_array_equal(view, image[:4, :, ::-1])
    assert describe_shown(image) == ''


@pytest.mark.parametrize(('channels', 'caption'), [
    (1, ''), (2, 'channel 1 of 2'), (3, ''), (13, 'channels 1 to 3 of 13'),
])  # fmt: skip
def test_others_fill_the_range_of_the_image(channels, caption):
    # Few of 16 bits, in which a picture of all bits would be black.
    image = noise(channels, 8).astype(np.float32) + 40
    shown, (same, brighter) = to_pictures(image, [image, 1.5 * image])
    assert shown.shape == (32, 40, 3)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    np.testing.assert_array_equal(same, shown)
    assert brighter.mean() > shown.mean() + 20
    if channels < 3:
        np.testing.assert_array_equal(shown[..., 0], shown[..., 2])
    assert describe_shown(image) == caption
