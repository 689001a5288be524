"""Files that are there whole, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What ends the name of a file that is being written.
UNFINISHED = '.unfinished'
#: What file systems say that cannot flush folders; some of networks cannot.
_CANNOT_FLUSH = {errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file beside its place, and put it there when it is complete and on disk.

    Args:
        path: Its place, in a folder that is there. What was there stays until then, and if writing
            fails; nothing else is left in that case.

    Yields:
        The path to write to.

    Raises:
        OSError: If it cannot be put there.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}{UNFINISHED}')
    try:
        yield unfinished
        _flush(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    try:
        _flush(path.parent)
    except OSError as error:
        # The file is whole and has its name all the same.
        if error.errno not in _CANNOT_FLUSH:
            raise


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on disk: a machine may lose its power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
