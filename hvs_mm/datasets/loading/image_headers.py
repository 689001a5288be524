"""The size that an image file declares, before anything is decoded.

JPEG and PNG are read here: it takes microseconds, and no metadata of such a file can fail. Pillow
reads the headers of all other formats.
"""

from __future__ import annotations

import io
import re
import warnings

from PIL import Image

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_JPEG_SIGNATURE = b'\xff\xd8\xff'
#: Start of frame: all markers 0xC0 to 0xCF except the tables DHT, JPG and DAC, T.81 table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
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
    """
    size, marker, position = None, None, 2
    while marker != _START_OF_SCAN:
        found = _MARKER.search(content, position)
        marker = found[1][0] if found else _END[1]
        if marker == _END[1]:
            raise ValueError('truncated: the JPEG ends before its pixels begin')
        position = found.end()
        if marker in _START_OF_FRAME and size is None:
            # Behind the length and the precision.
            frame = content[position + 3 : position + 7]
            size = int.from_bytes(frame[2:], 'big'), int.from_bytes(frame[:2], 'big')
        if marker not in _ALONE:
            position += int.from_bytes(content[position : position + 2], 'big')
    if size is None:
        raise ValueError('no image: a JPEG that declares no size')
    # Anything may follow a whole image, such as the video of a phone. Within the pixels a byte 0xFF
    # is always followed by 0 or the number of a restart.
    if not content.endswith(_END) and content.find(_END, found.start()) < 0:
        raise ValueError('truncated: the end of the JPEG is missing')
    return size


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
