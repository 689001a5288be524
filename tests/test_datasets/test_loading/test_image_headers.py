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
    with_scans,
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


def test_scans_of_a_jpeg():
    jpeg = encode(pixels(24, 16), 'JPEG', progressive=True)
    own = sum(jpeg.count(bytes([0xFF, 0xDA, 0, size])) for size in (8, 12))
    most = with_scans(jpeg, 100 - own)
    # Neither a video behind the image nor a comment counts.
    scan = b'\xff\xda\x00\x08'
    for good in (most, jpeg + 200 * scan, with_segment(jpeg, 0xFE, 200 * scan)):
        assert declared_size(good) == (24, 16)
    many = with_scans(jpeg, 101 - own)
    # An end in a comment is none.
    hidden = jpeg.index(scan)
    comment = b'\xff\xfe\x00\x04\xff\xd9'
    for bad in (many, many[:hidden] + comment + many[hidden:]):
        with pytest.raises(ValueError, match='too many scans: a JPEG with more than 100'):
            declared_size(bad)


def test_scans_of_a_sequential_jpeg():
    """libjpeg reads several of them if the first one has not all components."""
    jpeg = encode(pixels(24, 16), 'JPEG')
    first = jpeg.index(b'\xff\xda')
    one = jpeg[:first] + b'\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00' + jpeg[first + 14 :]
    many = one[:-2] + 100 * one[first:-2] + one[-2:]
    assert declared_size(one) == (24, 16)
    with pytest.raises(ValueError, match='too many scans'):
        declared_size(many)
    # All components in the first one: nothing behind it is read.
    assert declared_size(jpeg[:-2] + 100 * jpeg[first:-2] + jpeg[-2:]) == (24, 16)
