"""Load images of any number of channels, of 8 or 16 bits."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from mmpretrain.registry import TRANSFORMS

from ...utils.arguments import check_choice, check_whole
from .checked_image import MAX_PIXELS, LoadCheckedImage
from .image_files import MAX_BYTES
from .image_kind import ImageHeader, ImageKind, read_header

_AS_COLORS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
# OpenCV 5 and 4.
_LOGGING, _SILENT = getattr(cv2.utils, 'logging', cv2), 0
#: How to get the library that reads what OpenCV does not.
TIFF_PACKAGE = 'pip install "hvs-mm[tiff]"'


@TRANSFORMS.register_module()
class LoadChannels(LoadCheckedImage):
    """Load images of any number of channels as they are in the file, in floating point.

    Bad images are treated as by :class:`LoadCheckedImage`; bad is also an image of another kind.
    OpenCV decodes PNG, JPEG and TIFF of up to 4 channels, `tifffile
    <https://pypi.org/project/tifffile/>`_ all other TIFF, also with a channel a page.

    **Required Keys:** ``img_path``.

    **Added Keys:** ``img``, float32 (H, W, C), channels in the order of the file, values from 0 to
    ``2**bits - 1``, which float32 holds exactly; otherwise as :class:`LoadCheckedImage`.

    Args:
        channels: Channels of every image. An alpha counts if it makes up the number.
        bits: 8 or 16, of every channel of every image.
        max_pixels, max_bytes, bad_images, max_in_row, backend_args: As for
            :class:`LoadCheckedImage`.

    Raises:
        ValueError: If an argument is none of these.
    """

    def __init__(
        self,
        channels: int,
        bits: int,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
        bad_images: str = 'skip',
        max_in_row: int = 100,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(max_pixels, max_bytes, bad_images, max_in_row, backend_args=backend_args)
        check_whole('channels', channels)
        check_choice('bits', bits, (8, 16))
        self.kind = ImageKind(channels, bits)

    def decode(self, content: bytes) -> np.ndarray:
        """Check and decode the content of an image file, (H, W, C) float32.

        Raises:
            ImportError: If tifffile is needed and missing.
            MemoryError: If there is no memory for the image.
            ValueError: If the image is bad or of another kind; the message gives the reason.
        """
        header = read_header(content)
        if header.width * header.height > self.max_pixels:
            raise ValueError(
                f'too large: declares {header.width} x {header.height} pixels, max_pixels='
                f'{self.max_pixels}'
            )
        channels, bits = self.kind
        if header.kind.bits != bits or channels not in (
            header.kind.channels,
            header.kind.channels + header.has_alpha,
        ):
            raise ValueError(f'has {header.kind}, expected {self.kind}')
        return decode_channels(content, header, channels)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, channels={self.kind.channels}, bits={self.kind.bits})'


def decode_channels(content: bytes, header: ImageHeader, channels: int) -> np.ndarray:
    """Decode so many channels of an image, (H, W, C) float32; see :class:`LoadChannels`."""
    if not header.by_opencv:
        if find_spec('tifffile') is None:
            raise ImportError(
                f'TIFF images of {header.kind} are read by tifffile, which is missing: '
                f'{TIFF_PACKAGE}.'
            )
        image = _decode_by_tifffile(content)
    else:
        image = _decode_by_opencv(content, cv2.IMREAD_UNCHANGED if channels > 3 else _AS_COLORS)
    # Height and width may be swapped by an EXIF rotation.
    if image.shape[2] < channels or 8 * image.itemsize != header.kind.bits:
        raise ValueError(f'has {header.kind}, but is decoded to {image.shape} {image.dtype}')
    return np.ascontiguousarray(image[..., :channels], dtype=np.float32)


def _decode_by_opencv(content: bytes, flags: int) -> np.ndarray:
    level = _LOGGING.getLogLevel()
    _LOGGING.setLogLevel(_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    # Hostile bytes end in errors of many types, which differ between decoders.
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from error
        raise ValueError(f'cannot be decoded: {error}') from error
    finally:
        # It prints a line for each TIFF whose fourth channel is undeclared, and its own errors.
        _LOGGING.setLogLevel(level)
    if image is None:
        raise ValueError('cannot be decoded by cv2')
    if image.ndim == 2:
        return image[..., None]
    # BGR or BGRA -> the order of the file
    return image[..., [2, 1, 0, *range(3, image.shape[2])]]


def _decode_by_tifffile(content: bytes) -> np.ndarray:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            series = file.series[0]
            axes, image = series.axes, series.asarray()
    except MemoryError:
        raise
    # As above.
    except Exception as error:
        raise ValueError(f'cannot be decoded by tifffile: {error}') from error
    if image.ndim == 2:
        return image[..., None]
    if image.ndim != 3 or not {'Y', 'X'} <= set(axes):
        raise ValueError(f'has the axes {axes} {image.shape}, expected rows, columns and channels')
    (other,) = (place for place, axis in enumerate(axes) if axis not in 'YX')
    return np.moveaxis(image, other, 2)
