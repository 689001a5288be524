"""The newest checkpoint of a work dir that can be read."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from functools import lru_cache
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ..models.checkpoint_files import load_checkpoint

#: As MMEngine names them. Best checkpoints lack what a run goes on with.
_NAME = re.compile(r'(epoch|iter)_\d+\.pth')
_POINTER = 'last_checkpoint'


def latest_readable_checkpoint(work_dir: str | Path) -> str | None:
    """The newest checkpoint of a work dir, but for those that are damaged, which are reported.

    MMEngine's ``find_latest_checkpoint`` takes what the file ``last_checkpoint`` names, whatever
    its state, and none if a process died while it wrote that file.

    Args:
        work_dir: Of a run.

    Returns:
        The path, or ``None`` if there is no checkpoint at all.

    Raises:
        ValueError: If there are checkpoints, but none can be read.
    """
    folders = {Path(work_dir)}
    paths = set()
    pointer = Path(work_dir, _POINTER)
    if pointer.is_file():
        # Checkpoints may have other names, and lie elsewhere.
        named = Path(pointer.read_text(errors='replace').strip('\n\0'))
        if named.is_file():
            folders.add(named.parent)
            paths.add(named)
    paths |= {p for folder in folders for p in folder.glob('*.pth') if _NAME.fullmatch(p.name)}
    newest_first = sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)
    damaged = []
    for path in newest_first:
        reason = why_unreadable(path)
        if reason is None:
            for text in damaged:
                print_log(f'{text} Going on from {path}.', logger='current', level=logging.WARNING)
            return str(path)
        damaged.append(f'The checkpoint {path} is damaged and passed over: {reason}.')
    if damaged:
        raise ValueError(
            f'--resume: no checkpoint of {work_dir} can be read. {" ".join(damaged)} Name another '
            'one with --resume CHECKPOINT, or move them away to start anew.'
        )
    return None


def agreed_checkpoint(work_dir: str | Path) -> str | None:
    """What the first of several processes finds with :func:`latest_readable_checkpoint`.

    Args:
        work_dir: Of a run, which all processes see.

    Raises:
        ValueError: As there, in all processes.
    """
    found: list[str | None] = [None, None]
    if is_main_process():
        try:
            found[0] = latest_readable_checkpoint(work_dir)
        except ValueError as error:
            found[1] = str(error)
    broadcast_object_list(found)
    path, reason = found
    if reason is not None:
        raise ValueError(reason)
    return path


def why_unreadable(path: str | Path) -> str | None:
    """What is wrong with a checkpoint, ``None`` if nothing is.

    Every byte is read and compared with the checksums that torch writes (CRC-32).

    Args:
        path: A file.
    """
    status = os.stat(path)
    return _why_unreadable(path, status.st_mtime_ns, status.st_size)


# The checks before a run and the Runner both ask, for what may be gigabytes.
@lru_cache
def _why_unreadable(path: str | Path, modified: int, size: int) -> str | None:
    if size == 0:
        return 'it is empty'
    try:
        if not zipfile.is_zipfile(path):
            # The format before torch 1.6, or half a file.
            load_checkpoint(path)
            return None
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:
        # Damaged files fail in more ways than zipfile and torch document.
        return str(error).partition('\n')[0] or type(error).__name__
    return f'the checksum of {broken} is wrong' if broken else None
