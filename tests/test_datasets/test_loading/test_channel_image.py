"""Channels and bits of image files: what their headers say, and what is decoded."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from hvs_mm.datasets import LoadChannels, LoadCheckedImage, read_header
from hvs_mm.datasets.loading import channel_image
from hvs_mm.datasets.loading.image_kind import RGB, ImageKind
from hvs_mm.utils.bad_images import BadImagesError
from tests.helpers.channel_images import noise, write, write_tiff

BANDS = noise(13)
PLANES = np.moveaxis(BANDS, 2, 0)
CHUNKY = dict(photometric='minisblack', planarconfig='contig')


def load(path, channels, bits):
    results = LoadChannels(channels, bits, bad_images='error').transform({'img_path': str(path)})
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert results['img'].dtype == np.float32
    return results['img']


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_all_bits_in_the_order_of_the_file(tmp_path, name, bits, channels):
    pixels = noise(channels, bits)
    path = write(tmp_path / name, pixels)
    np.testing.assert_array_equal(load(path, channels, bits), pixels)


@pytest.mark.parametrize(('pixels', 'settings'), [
    (BANDS, CHUNKY),
    (BANDS, dict(CHUNKY, compression='zlib', predictor=True)),
    (BANDS, dict(CHUNKY, bigtiff=True)),
    (BANDS, dict(CHUNKY, byteorder='>')),
    (PLANES, dict(photometric='minisblack', planarconfig='separate')),
    (PLANES, dict(photometric='minisblack')),
    (BANDS[..., :2], CHUNKY),
    (BANDS[..., :4], dict(photometric='rgb', extrasamples=[0])),
], ids=['chunky', 'zip', 'big', 'swapped', 'planar', 'pages', 'two', 'infrared'])  # fmt: skip
def test_tiff_of_many_channels(tmp_path, pixels, settings):
    path = write_tiff(tmp_path / 'a.tif', pixels, **settings)
    expected = np.moveaxis(pixels, 0, 2) if pixels is PLANES else pixels
    header = read_header(path.read_bytes())
    assert (header.width, header.height) == (40, 32)
    assert header.kind == header.kind_for(None) == ImageKind(expected.shape[2], 16)
    np.testing.assert_array_equal(load(path, *header.kind), expected)


def encoded(mode, ending, size=(6, 5)):
    file = io.BytesIO()
    Image.new(mode, size).save(file, ending)
    return file.getvalue()


@pytest.mark.parametrize(('mode', 'ending', 'channels', 'asked', 'kind'), [
    ('L', 'png', 1, None, RGB), ('L', 'png', 1, 1, (1, 8)), ('L', 'jpeg', 1, 1, (1, 8)),
    ('1', 'png', 1, None, RGB), ('P', 'png', 3, None, RGB), ('RGB', 'jpeg', 3, None, RGB),
    ('RGBA', 'png', 3, None, RGB), ('RGBA', 'png', 3, 4, (4, 8)), ('RGBA', 'tiff', 3, None, RGB),
    ('CMYK', 'jpeg', 3, None, RGB), ('CMYK', 'tiff', 3, None, RGB), ('P', 'tiff', 3, None, RGB),
    ('I;16', 'png', 1, None, (1, 16)), ('LA', 'png', 1, None, RGB),
    ('RGB', 'bmp', 3, None, RGB), ('L', 'ppm', 1, None, RGB), ('RGB', 'tiff', 3, 3, RGB),
    ('L', 'jpeg', 1, 3, RGB),
])  # fmt: skip
def test_kinds(mode, ending, channels, asked, kind):
    header = read_header(encoded(mode, ending))
    assert (header.width, header.height, header.kind.channels) == (6, 5, channels)
    assert header.kind_for(asked) == kind


def test_rotated_by_exif(tmp_path):
    image = Image.fromarray(np.repeat(noise(1, 8)[..., 0] // 2, 8, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.jpg', exif=exif, quality=95)
    found = load(tmp_path / 'a.jpg', 1, 8)
    assert found.shape == (320, 32, 1)
    upstream = LoadCheckedImage(color_type='grayscale').decode((tmp_path / 'a.jpg').read_bytes())
    np.testing.assert_array_equal(found[..., 0], upstream)


def test_channels_that_are_not_there():
    for mode, asked in (('RGB', 4), ('RGB', 1), ('L', 2), ('I;16', 3)):
        with pytest.raises(ValueError, match=r'^has . channels? of'):
            read_header(encoded(mode, 'png')).kind_for(asked)


def test_other_kinds_are_bad_images(tmp_path):
    path = write(tmp_path / 'a.png', noise(3))
    for channels, bits in ((1, 16), (4, 16), (3, 8)):
        loader = LoadChannels(channels, bits)
        assert loader.transform({'img_path': str(path)}) is None
        with pytest.raises(BadImagesError, match='has 3 channels of 16 bits, expected') as raised:
            load(path, channels, bits)
        assert '\n' not in str(raised.value)


def test_files_that_are_broken(tmp_path):
    whole = write(tmp_path / 'a.tif', noise(1)).read_bytes()
    loader = LoadChannels(1, 16, max_pixels=2000)
    loop = struct.pack('<2sHIHHHII', b'II', 42, 8, 1, 256, 4, 1, 7) + struct.pack('<I', 8)
    for content, reason in (
        (b'', 'is empty'), (b'no image', 'no image'), (whole[:6], 'cannot be read'),
        (whole[: len(whole) // 2], 'no image|cannot be decoded'), (loop, 'no image|cannot be'),
        (write(tmp_path / 'b.tif', noise(1, size=(50, 50))).read_bytes(), 'too large'),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            loader.decode(content)
    with pytest.raises(ValueError, match=r'has samples of 32 bits, not unsigned: expected'):
        read_header(write(tmp_path / 'c.tif', np.zeros((4, 4, 1), np.float32)).read_bytes())


def test_tifffile_is_asked_for(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / 'a.tif', BANDS, **CHUNKY)
    monkeypatch.setattr(channel_image, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'13 channels of 16 bits .* "hvs-mm\[tiff\]"'):
        LoadChannels(13, 16).transform({'img_path': str(path)})


def test_settings():
    with pytest.raises(ValueError, match='channels=0 must be'):
        LoadChannels(0, 16)
    with pytest.raises(ValueError, match=r'bits=12 must be one of \[8, 16\]'):
        LoadChannels(1, 12)
    assert 'channels=13, bits=16)' in repr(LoadChannels(13, 16))
    assert isinstance(LoadChannels(13, 16), LoadCheckedImage)
