"""Real image files as data sets have them: odd ones that are good, and broken ones."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NOBODY = 65534


def pixels(width: int = 24, height: int = 16, seed: int = 0) -> np.ndarray:
    """A smooth RGB image (H, W, 3) uint8."""
    colors = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(colors).resize((width, height), Image.BICUBIC))


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', check)


def png(width: int, height: int, depth: int, color: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG written by hand: ``rows`` are its filter bytes and pixels, ``more`` further chunks."""
    header = struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0)
    return b''.join(
        [
            b'\x89PNG\r\n\x1a\n',
            png_chunk(b'IHDR', header),
            *more,
            png_chunk(b'IDAT', zlib.compress(rows, 9)),
            png_chunk(b'IEND', b''),
        ]
    )


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment behind its start."""
    length = struct.pack('>H', len(content) + 2)
    return jpeg[:2] + bytes([0xFF, marker]) + length + content + jpeg[2:]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def good_images() -> dict[str, bytes]:
    """Files that can be used, by name."""
    image = Image.fromarray(pixels())
    colors = image.quantize(8)
    jpeg = encode(image, 'JPEG')
    return {
        'plain.jpg': jpeg,
        'progressive.jpg': encode(image, 'JPEG', progressive=True),
        'restarts.jpg': encode(pixels(200, 100), 'JPEG', restart_marker_blocks=2),
        'gray.jpg': encode(image.convert('L'), 'JPEG'),
        'cmyk.jpg': encode(image.convert('CMYK'), 'JPEG'),
        **{f'exif{n}.jpg': encode(image, 'JPEG', exif=exif(n)) for n in range(1, 9)},
        'exif.png': encode(image, 'PNG', exif=exif(6)),
        # The thumbnail has a start, a frame of another size, and an end of its own.
        'thumbnail.jpg': with_segment(jpeg, 0xE1, b'Exif\0\0' + encode(pixels(8, 8), 'JPEG')),
        'trailing.jpg': jpeg + b'the video of a phone',
        'fill.jpg': jpeg[:2] + b'\xff\xff\xff' + jpeg[2:],
        'plain.png': encode(image, 'PNG'),
        'alpha.png': encode(image.convert('RGBA'), 'PNG'),
        'gray_alpha.png': encode(image.convert('LA'), 'PNG'),
        'palette.png': encode(colors, 'PNG'),
        'palette_transparent.png': encode(colors, 'PNG', transparency=3),
        'jpeg_inside.png': jpeg,
        'plain.bmp': encode(image, 'BMP'),
        'plain.ppm': encode(image, 'PPM'),
        'plain.tif': encode(image, 'TIFF'),
        'plain.webp': encode(image, 'WEBP'),
        'one_pixel.png': encode(pixels(1, 1), 'PNG'),
        'one_pixel.jpg': encode(pixels(1, 1), 'JPEG'),
        'wide.jpg': encode(pixels(20000, 10), 'JPEG'),
        'tall.png': encode(pixels(10, 20000), 'PNG'),
    }


def with_scans(jpeg: bytes, number: int) -> bytes:
    """A progressive JPEG with its last scan, and the tables of it, so many times more."""
    first = jpeg.rindex(b'\xff\xc4')
    return jpeg[:-2] + number * jpeg[first:-2] + jpeg[-2:]


def bad_images() -> dict[str, tuple[bytes, str]]:
    """Files that cannot be used, and the reason that is given, by name."""
    image = Image.fromarray(pixels(120, 80))
    files = {kind: encode(image, kind) for kind in ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF')}
    jpeg, progressive = files['JPEG'], encode(image, 'JPEG', progressive=True)
    frame = jpeg.index(b'\xff\xc0') + 5
    deep = Image.fromarray(np.full((16, 24), 4095, np.uint16))
    flipped = bytearray(files['PNG'])
    flipped[len(flipped) // 2] ^= 255
    # A thumbnail has an end of its own, the image has none.
    thumbnail = with_segment(jpeg, 0xE1, b'Exif\0\0' + encode(pixels(8, 8), 'JPEG'))
    return {
        'empty.jpg': (b'', 'the file is empty'),
        'text.jpg': (b'<html>404 Not Found</html>\n' * 9, 'no image'),
        'zeros.jpg': (bytes(5000), 'no image'),
        'truncated.jpg': (jpeg[: len(jpeg) // 2], 'truncated'),
        'truncated_progressive.jpg': (progressive[: len(progressive) * 3 // 4], 'truncated'),
        'truncated_header.jpg': (jpeg[:100], 'truncated'),
        'padded_thumbnail.jpg': (thumbnail[: -len(jpeg) // 3] + bytes(9 * len(jpeg)), 'truncated'),
        'end_missing.jpg': (jpeg[:-2], 'truncated'),
        # As an interrupted download into a file of full size leaves it.
        'padded.jpg': (jpeg[: len(jpeg) // 2] + bytes(9 * len(jpeg)), 'truncated'),
        'truncated.png': (files['PNG'][: len(files['PNG']) // 2], 'truncated'),
        'truncated_header.png': (files['PNG'][:20], 'truncated'),
        # OpenCV takes seconds, and gigabytes of memory, for a chunk that is missing.
        'chunk.png': (
            files['PNG'][:33] + b'\x7f\0\0\0tEXt' + files['PNG'][33:],
            'truncated: the end of the PNG is missing',
        ),
        **{
            f'bits16.{kind}': (encode(deep, kind.upper()), 'has 16 bits per channel, expected 8')
            for kind in ('png', 'tiff')
        },
        'flipped.png': (bytes(flipped), 'cannot be decoded'),
        'truncated.bmp': (files['BMP'][:-9], 'cannot be decoded'),
        'truncated.webp': (files['WEBP'][:-40], ''),
        'truncated.tif': (files['TIFF'][: len(files['TIFF']) // 2], ''),
        'scans.jpg': (with_scans(progressive, 100), 'too many scans'),
        'bomb.jpg': (
            jpeg[:frame] + b'\xff\x00\xff\x00' + jpeg[frame + 4 :],
            'too large: declares 65280 x 65280 pixels, max_pixels=89478485',
        ),
        # A valid one, of one bit a pixel: 100 million of them.
        'bomb.png': (
            png(10000, 10000, 1, 0, bytes(10000 * 1251)),
            'too large: declares 10000 x 10000 pixels',
        ),
    }


def write(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Write files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def plain_images(number: int, first: int = 0, size: int = 32) -> dict[str, bytes]:
    """Good JPEGs, all of them different."""
    return {
        f'{seed:03}.jpg': encode(pixels(size, size, seed), 'JPEG')
        for seed in range(first, first + number)
    }


def give_up_rights(*_: Any) -> None:
    """Make this process one that may not read everything, as root may."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)


@contextmanager
def without_rights() -> Iterator[None]:
    """Give up the rights of root for a while."""
    user = os.geteuid()
    give_up_rights()
    try:
        yield
    finally:
        os.seteuid(user)
