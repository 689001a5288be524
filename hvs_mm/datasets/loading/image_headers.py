"""What an image file declares, before anything is decoded.

JPEG and PNG are read here: it takes microseconds, and no metadata of such a file can fail. Pillow
reads the headers of all other formats.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from itertools import islice, takewhile

from PIL import Image

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_JPEG_SIGNATURE = b'\xff\xd8\xff'
#: Start of frame: all markers 0xC0 to 0xCF except the tables DHT, JPG and DAC, T.81 table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Those of progressive images.
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_START_OF_SCAN = 0xDA
_SCAN = bytes([0xFF, _START_OF_SCAN])
#: Most scans of a JPEG. Encoders write up to about 20.
_MAX_SCANS = 100
_END = b'\xff\xd9'
#: Markers without a length: TEM, RST0 to RST7, SOI.
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
#: Like libjpeg, pass over anything that is no marker.
_MARKER = re.compile(rb'\xff([^\x00\xff])')


def declared_size(content: bytes) -> tuple[int, int]:
    """Read width and height in pixels that the header of a whole image file declares.

    They are those before any EXIF rotation. No pixel is decoded.

    Raises:
        ValueError: If these are not the bytes of a whole image; the message gives the reason.
    """
    if not content:
        raise ValueError('the file is empty')
    if content.startswith(_JPEG_SIGNATURE):
        return _jpeg_size(content)
    if content.startswith(_PNG_SIGNATURE):
        return _png_size(content)
    return _pillow_size(content)


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Read the first start of frame; check all segments up to the first scan, and the end.

    OpenCV and Pillow refuse a JPEG that just stops, but accept one padded with zeros, as an
    interrupted download leaves it. The standard demands an end marker, T.81 B.2.1, which both lack.
    They also decode any number of scans, each of which takes as long as a whole image.
    """
    size, marker, position, has_scans = None, None, 2, False
    for marker, position in _markers(content, 2):
        if marker in _START_OF_FRAME and size is None:
            # Behind the length and the precision.
            frame = content[position + 3 : position + 8]
            size = int.from_bytes(frame[2:4], 'big'), int.from_bytes(frame[:2], 'big')
            has_scans, components = marker in _PROGRESSIVE, frame[4:]
        if marker in (_START_OF_SCAN, _END[1]):
            break
    if marker != _START_OF_SCAN:
        raise ValueError('truncated: the JPEG ends before its pixels begin')
    if size is None:
        raise ValueError('no image: a JPEG that declares no size')
    # Anything may follow a whole image, such as the video of a phone. Within the pixels a byte 0xFF
    # is always followed by 0 or the number of a restart.
    if not content.endswith(_END) and content.find(_END, position) < 0:
        raise ValueError('truncated: the end of the JPEG is missing')
    # libjpeg reads several scans of a progressive image, or if the first one lacks components.
    has_scans = has_scans or content[position + 2 : position + 3] < components
    # Looking for the two bytes is fast, but finds those of a video, too.
    many = has_scans and content.count(_SCAN) > _MAX_SCANS
    if many and _has_many_scans(content, position - len(_SCAN)):
        raise ValueError(f'too many scans: a JPEG with more than {_MAX_SCANS}')
    return size


def _has_many_scans(content: bytes, first: int) -> bool:
    """Whether a JPEG has too many scans between the marker of the first one and its end."""
    image = takewhile(lambda found: found[0] != _END[1], _markers(content, first))
    scans = (marker for marker, _ in image if marker == _START_OF_SCAN)
    return sum(1 for _ in islice(scans, _MAX_SCANS + 1)) > _MAX_SCANS


def _markers(content: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Yield the markers from a position on, and the positions behind them."""
    while found := _MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        yield marker, position
        if marker not in _ALONE:
            position += int.from_bytes(content[position : position + 2], 'big')


def _png_size(content: bytes) -> tuple[int, int]:
    """Read IHDR, the first chunk; check that all chunks up to the last, IEND, are there.

    OpenCV allocates the bytes that a chunk declares, gigabytes, before it misses them.
    """
    if len(content) < 24 or content[12:16] != b'IHDR':
        raise ValueError('truncated: the PNG ends before its pixels begin')
    position = len(_PNG_SIGNATURE)
    kind = b''
    while kind != b'IEND':
        # Length, name, content, checksum: PNG, 5.3.
        kind = content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4], 'big')
        if position > len(content):
            raise ValueError('truncated: the end of the PNG is missing')
    return int.from_bytes(content[16:20], 'big'), int.from_bytes(content[20:24], 'big')


def _pillow_size(content: bytes) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            # About metadata, and about the size, which the caller checks.
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(content)) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ValueError(f'too large: {error}') from error
    # Hostile headers end in errors of many types.
    except Exception as error:
        raise ValueError('no image: none of the formats that Pillow knows') from error
