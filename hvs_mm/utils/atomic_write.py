"""Write files that are complete or absent."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Suffix of a file that is being written.
UNFINISHED = '.unfinished'
#: Errors of file systems that cannot flush folders, such as some network drives.
_CANNOT_FLUSH = {errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file next to its final path, and move it there when it is complete and on disk.

    If writing fails, an older file at the path stays, and nothing else is left. The folder exists.
    The name of the unfinished file is unique: two processes do not write into each other's.

    Yields:
        The path to write to.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{secrets.token_hex(4)}.{path.name}{UNFINISHED}')
    try:
        yield unfinished
        _flush(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    try:
        _flush(path.parent)
    except OSError as error:
        # The file is complete and has its name anyway.
        if error.errno not in _CANNOT_FLUSH:
            raise


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on disk, in case of a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
