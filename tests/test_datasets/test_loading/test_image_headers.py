"""Sizes that image files declare."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from hvs_mm.datasets.loading.image_headers import declared_size
from tests.helpers.hostile_images import (
    encode,
    exif,
    pixels,
    with_segment,
)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'PPM', 'TIFF', 'WEBP', 'GIF'])
def test_declared_sizes(kind):
    rng = random.Random(0)
    for number in range(20):
        size = rng.randint(1, 300), rng.randint(1, 60)
        content = encode(pixels(*size, number), kind)
        assert declared_size(content) == size
        assert declared_size(content) == Image.open(io.BytesIO(content)).size


def test_declared_size_of_a_jpeg_with_odd_segments():
    jpeg = encode(pixels(24, 16), 'JPEG', progressive=True, exif=exif(6))
    rng = random.Random(0)
    for _ in range(50):
        odd = jpeg
        for _ in range(rng.randint(1, 4)):
            # Bytes that look like markers, inside of comments and of data of applications.
            inside = bytes(rng.choice([0xFF, 0xD9, 0xC0, 0xDA, 0, 7]) for _ in range(99))
            odd = with_segment(odd, rng.choice([0xFE, 0xE2, 0xED]), inside)
        assert declared_size(odd) == (24, 16)
        assert cv2.imdecode(np.frombuffer(odd, np.uint8), cv2.IMREAD_COLOR).shape == (24, 16, 3)
