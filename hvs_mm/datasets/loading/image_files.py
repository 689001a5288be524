"""What kind of file an image is, and how large, before it is read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from mmengine import fileio

#: As many bytes as the decoded pixels of the largest image that LoadCheckedImage takes.
MAX_BYTES = 2**28


def check_image_file(path: str | Path, max_bytes: int = MAX_BYTES) -> None:
    """Check that a local file can be read whole: it has an end, and at most ``max_bytes``.

    Raises:
        OSError: If it is not there or a folder.
        ValueError: If it is a pipe or device, or too large; the message gives the reason.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        # As reading it would.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError('no image: a pipe, socket or device')
    if status.st_size > max_bytes:
        raise ValueError(f'too large: {status.st_size} bytes, max_bytes={max_bytes}')


def read_image(
    path: str | Path, max_bytes: int = MAX_BYTES, backend_args: dict[str, Any] | None = None
) -> bytes:
    """Read the content of an image by its path or address; a local file is checked before.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe or device, or too large; the message gives the reason.
    """
    if backend_args is None and '://' not in str(path):
        check_image_file(path, max_bytes)
    return fileio.get(path, backend_args=backend_args)
