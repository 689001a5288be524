"""Let processes take turns in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def folder_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Let one process at a time into the block, as far as the file system locks folders.

    Some network file systems, such as NFS, do not: there nobody waits.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
