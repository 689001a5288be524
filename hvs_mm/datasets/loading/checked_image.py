"""Load images, some of which may be broken."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.image.io import imread_flags
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS

from ...utils.arguments import check_choice, check_whole
from ...utils.bad_images import SKIPPED_FIELD, BadImage, BadImagesError, describe
from .image_files import MAX_BYTES, read_image
from .image_headers import declared_size
from .image_kind import RGB, declared_bits

#: A quarter of a gibibyte of decoded pixels, as Pillow's ``MAX_IMAGE_PIXELS``.
MAX_PIXELS = 2**30 // 4 // 3
#: Errors of the machine, which every other file would meet, too.
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """Load an image like upstream's ``LoadImageFromFile``, and refuse one that is broken.

    A good image has upstream's pixels, bit for bit. Bad is a file that cannot be opened, is a pipe
    or device or has more than ``max_bytes`` (it is not read), is empty, is no image, is truncated,
    declares more than ``max_pixels``, more than 8 bits per channel (unless ``color_type`` is
    ``'unchanged'``) or more than 100 scans (it is not decoded), or that the decoder refuses.

    With ``bad_images='skip'`` MMEngine's ``BaseDataset`` draws another image in its place. The next
    good sample reports it: :class:`PackViews` turns ``skipped_images`` into a field of the data
    sample, and ``BadImagesHook`` counts and warns in the training process. Evaluation, where
    MMEngine draws no other image, needs ``bad_images='error'``: an error that names the file.

    **Required Keys:** ``img_path``.

    **Added Keys:** ``img``, uint8 (H, W, 3) BGR; ``img_shape``, ``ori_shape``, both (H, W);
    ``skipped_images``, a list of :class:`hvs_mm.utils.bad_images.BadImage`, which its reader
    empties; absent if no image was refused since then.

    Args:
        max_pixels: Most pixels, width times height, that a file may declare.
        max_bytes: Most bytes of a local file.
        bad_images: ``'skip'`` or ``'error'``.
        max_in_row: This many bad images in a row, in one worker, are an error with ``'skip'``, too:
            MMEngine would draw on and on.
        to_float32, color_type, imdecode_backend, backend_args: As upstream's; the backend is
            ``'cv2'`` or ``'pillow'``.

    Raises:
        ValueError: If an argument is none of these.
    """

    def __init__(
        self,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
        bad_images: str = 'skip',
        max_in_row: int = 100,
        to_float32: bool = False,
        color_type: str = 'color',
        imdecode_backend: str = 'cv2',
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        check_choice('color_type', color_type, imread_flags)
        check_choice('imdecode_backend', imdecode_backend, ('cv2', 'pillow'))
        super().__init__(to_float32, color_type, imdecode_backend, backend_args=backend_args)
        self.max_pixels = check_whole('max_pixels', max_pixels)
        self.max_bytes = check_whole('max_bytes', max_bytes)
        self.bad_images = check_choice('bad_images', bad_images, ('skip', 'error'))
        self.max_in_row = check_whole('max_in_row', max_in_row)
        self._unreported: list[BadImage] = []
        self._in_row: list[BadImage] = []

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Load the image; ``None`` if it is bad and is to be skipped.

        Raises:
            BadImagesError: If it is bad and must not be skipped, or is one too many in a row.
            MemoryError: If there is no memory for the image.
            OSError: If the machine cannot open any more files.
        """
        path = results['img_path']
        try:
            image = self.read(path)
        except OSError as error:
            if error.errno in _MACHINE_ERRORS:
                raise
            self._refuse(BadImage(str(path), f'cannot be read: {error.strerror or error}'))
            return None
        except ValueError as error:
            self._refuse(BadImage(str(path), str(error)))
            return None
        self._in_row.clear()
        if self._unreported:
            # The list itself: it stays filled if a later transform gives up on this image.
            results[SKIPPED_FIELD] = self._unreported
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def read(self, path: str | Path) -> np.ndarray:
        """Check, read and decode an image file, to the pixels of upstream's transform.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is bad; the message gives the reason.
            MemoryError: If there is no memory for the image.
        """
        return self.decode(read_image(path, self.max_bytes, self.backend_args))

    def decode(self, content: bytes) -> np.ndarray:
        """Check and decode the content of an image file, to the pixels of upstream's transform.

        Raises:
            ValueError: If the image is bad; the message gives the reason.
            MemoryError: If there is no memory for the image.
        """
        width, height = declared_size(content)
        if width * height > self.max_pixels:
            raise ValueError(
                f'too large: declares {width} x {height} pixels, max_pixels={self.max_pixels}'
            )
        bits = declared_bits(content)
        if bits != RGB.bits and self.color_type != 'unchanged':
            # Decoders would keep the upper 8, which images of 12 bits hardly use.
            raise ValueError(
                f'has {bits} bits per channel, expected {RGB.bits}: LoadChannels reads such images'
            )
        try:
            image = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        except MemoryError:
            raise
        # Hostile bytes end in errors of many types, which differ between decoders.
        except Exception as error:
            if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
                raise MemoryError(str(error)) from error
            raise ValueError(f'cannot be decoded: {error}') from error
        if image is None:
            raise ValueError(f'cannot be decoded by {self.imdecode_backend}')
        return image

    def _refuse(self, image: BadImage) -> None:
        if self.bad_images == 'error':
            raise BadImagesError(
                f'{image.path}: {image.reason}. No other image can take its place here: replace '
                'the file, or take it out of the data set.'
            )
        self._unreported.append(image)
        self._in_row.append(image)
        if len(self._in_row) >= self.max_in_row:
            raise BadImagesError(
                f'{len(self._in_row)} bad images one after the other, max_in_row='
                f'{self.max_in_row} of {type(self).__name__}: {describe(self._in_row)}. Look at '
                'the files, and whether their disk is still there.'
            )

    def __repr__(self) -> str:
        settings = 'max_pixels', 'max_bytes', 'bad_images', 'max_in_row', 'color_type'
        listed = ', '.join(
            f'{name}={getattr(self, name)!r}' for name in (*settings, 'imdecode_backend')
        )
        return f'{type(self).__name__}({listed})'
