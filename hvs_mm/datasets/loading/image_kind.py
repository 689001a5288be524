"""How many channels of how many bits an image file has, read from its header."""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .image_headers import declared_size

#: Pillow reads no directory of a BigTIFF in big-endian order.
_TIFF_SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0')
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_JPEG_SIGNATURE = b'\xff\xd8\xff'
#: Channels without alpha, and whether there is an alpha, by the color type of a PNG.
_PNG_COLORS = {0: (1, False), 2: (3, False), 3: (3, False), 4: (1, True), 6: (3, True)}
# Tags of TIFF 6.0.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COLORS, _SAMPLES = 254, 256, 257, 258, 262, 277
_PLANES, _EXTRA, _FORMAT = 284, 338, 339
_RGB_COLORS, _PALETTE, _CMYK = 2, 3, 5
_REDUCED, _UNSIGNED, _SEPARATE = 1, 1, 2
#: Kinds of extra samples that are an alpha; 0 is a channel like any other.
_ALPHAS = (1, 2)
#: More pages are a document or a volume, and a hostile file could have millions.
_MAX_PAGES = 1024


class ImageKind(NamedTuple):
    """Channels of an image, and the bits of each."""

    channels: int
    bits: int

    def __str__(self) -> str:
        noun = 'channel' if self.channels == 1 else 'channels'
        return f'{self.channels} {noun} of {self.bits} bits'


#: What MMPretrain's loaders and transforms are made for. Gray images become it by repetition.
RGB = ImageKind(3, 8)


class ImageHeader(NamedTuple):
    """What the header of an image declares.

    Attributes:
        width, height: In pixels.
        kind: Channels without an alpha, and bits of each.
        has_alpha: Whether an alpha follows them.
        by_opencv: Whether OpenCV decodes the channels as they are; otherwise tifffile does.
    """

    width: int
    height: int
    kind: ImageKind
    has_alpha: bool = False
    by_opencv: bool = True

    def kind_for(self, channels: int | None) -> ImageKind:
        """The kind as which a run takes the image.

        ``channels`` is the number that the user asked for. By default 8-bit images of one or three
        channels are RGB, and an alpha is dropped.

        Raises:
            ValueError: If the image does not have so many channels.
        """
        found, bits = self.kind
        if bits == RGB.bits and (channels == 3 or (channels is None and found in (1, 3))):
            return RGB
        if channels in (None, found):
            return self.kind
        if self.has_alpha and channels == found + 1:
            return ImageKind(channels, bits)
        raise ValueError(f'has {self.kind}')


def read_header(content: bytes) -> ImageHeader:
    """Read the header of a whole image file. No pixel is decoded.

    In a TIFF file with pages of one channel and one size, each page is a channel.

    Raises:
        ValueError: If these are not the bytes of an image whose samples are unsigned integers of at
            most 16 bits; the message gives the reason.
    """
    if content[:4] in _TIFF_SIGNATURES:
        return _tiff_header(content)
    size = declared_size(content)
    if content.startswith(_PNG_SIGNATURE):
        bits, color = content[24:26]
        channels, has_alpha = _PNG_COLORS.get(color, (3, False))
        return ImageHeader(*size, ImageKind(channels, max(bits, 8)), has_alpha)
    try:
        with warnings.catch_warnings():
            # About metadata, and about the size, which the caller checks.
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(content)) as image:
                mode = image.mode
    # Pillow is stricter than the decoder, and hostile headers end in errors of many types.
    except Exception:
        return ImageHeader(*size, RGB)
    bits = 16 if mode.startswith('I') else 8
    return ImageHeader(*size, ImageKind(1 if mode[0] in '1LI' else 3, bits), mode.endswith('A'))


def declared_bits(content: bytes) -> int:
    """Read the bits of each channel, 8 or 16, that the header of a whole image file declares.

    Raises:
        ValueError: As :func:`read_header`.
    """
    if content.startswith(_JPEG_SIGNATURE):
        # No decoder here reads the rare ones of 12 bits.
        return RGB.bits
    if content.startswith(_PNG_SIGNATURE):
        return max(content[24], RGB.bits)
    return read_header(content).kind.bits


def _tiff_header(content: bytes) -> ImageHeader:
    try:
        first, *others = _tiff_pages(content)
        width, height = int(first[_WIDTH]), int(first[_HEIGHT])
        samples = int(first.get(_SAMPLES, 1))
        bits = set(first.get(_BITS, (1,)))
        formats = set(first.get(_FORMAT, (_UNSIGNED,)))
        extra = tuple(first.get(_EXTRA, ()))
    # Hostile headers end in errors of many types.
    except Exception as error:
        raise ValueError('no image: the directory of the TIFF cannot be read') from error
    if min(width, height, samples) < 1:
        raise ValueError('no image: a TIFF that declares no pixels')
    if formats != {_UNSIGNED} or len(bits) > 1 or max(bits) not in (1, 2, 4, 8, 16):
        shown = '/'.join(map(str, sorted(bits)))
        raise ValueError(
            f'has samples of {shown} bits{"" if formats == {_UNSIGNED} else ", not unsigned"}: '
            'expected unsigned integers of 8 or 16 bits'
        )
    depth = max(*bits, 8)
    is_stack = samples == 1 and len(others) > 0 and all(_same(first, page) for page in others)
    if is_stack:
        return ImageHeader(width, height, ImageKind(1 + len(others), depth), by_opencv=False)
    is_rgb = first.get(_COLORS) == _RGB_COLORS and first.get(_PLANES) != _SEPARATE
    has_alpha = samples > 1 and bool(extra) and extra[-1] in _ALPHAS
    by_opencv = samples == 1 or (is_rgb and (samples == 3 or (samples == 4 and not has_alpha)))
    channels = samples - has_alpha
    # OpenCV gives the colors of a palette, and turns those for print into RGB.
    if first.get(_COLORS) == _PALETTE or (first.get(_COLORS) == _CMYK and depth == RGB.bits):
        channels = 3
    return ImageHeader(width, height, ImageKind(channels, depth), has_alpha, by_opencv)


_READ = frozenset((_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COLORS, _SAMPLES, _PLANES, _EXTRA, _FORMAT))


def _tiff_pages(content: bytes) -> list[dict[int, Any]]:
    """The tags of the pages of a TIFF or BigTIFF file."""
    is_big = content[2:3] == b'+'
    file = io.BytesIO(content)
    directory = ImageFileDirectory_v2(file.read(16 if is_big else 8))
    offset = directory.next
    seen: set[int] = set()
    pages: list[dict[int, Any]] = []
    while offset and offset not in seen and len(pages) < _MAX_PAGES:
        seen.add(offset)
        file.seek(offset)
        with warnings.catch_warnings():
            # About metadata.
            warnings.simplefilter('ignore')
            directory.load(file)
        pages.append({tag: directory[tag] for tag in directory if tag in _READ})
        offset = directory.next
    return pages


def _same(first: dict[int, Any], page: dict[int, Any]) -> bool:
    """Whether a page is a channel of the same image, no other image or a reduced one."""
    is_reduced = int(page.get(_SUBFILE, 0)) & _REDUCED
    return not is_reduced and all(
        first.get(tag) == page.get(tag) for tag in (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT)
    )
