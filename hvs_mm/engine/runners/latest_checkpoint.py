"""The last checkpoint of a run that can be read."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ...weights.checkpoint_files import load_checkpoint
from .checkpoint_paths import POINTER, CheckpointPaths


def latest_readable_checkpoint(place: CheckpointPaths) -> str | None:
    """The last checkpoint of a run, but for those that are damaged, which are reported.

    MMEngine's ``find_latest_checkpoint`` takes what the file ``last_checkpoint`` names, whatever
    its state, and none if a process died while it wrote that file. Here the order is:

    1. checkpoints with higher numbers than the one it names, if they are newer, too: of a process
       that died between writing the two;
    2. the one it names, wherever it lies;
    3. those with lower numbers, the highest first;
    4. others, the newest first. If no file is named, all are others.

    Best checkpoints do not count: they lack what a run goes on with.

    Args:
        place: Where they lie.

    Returns:
        The path, or ``None`` if there is no checkpoint at all.

    Raises:
        ValueError: If there are checkpoints, but none can be read.
    """
    damaged = []
    for path in _last_first(place):
        reason = why_unreadable(path)
        if reason is None:
            for text in damaged:
                _warn(f'{text} Going on from {path}.')
            return str(path)
        damaged.append(f'The checkpoint {path} is damaged and passed over: {reason}.')
    if damaged:
        raise ValueError(
            f'--resume: no checkpoint of {place.work_dir} can be read. {" ".join(damaged)} Name '
            'another one with --resume CHECKPOINT, or move them away to start anew.'
        )
    return None


def _last_first(place: CheckpointPaths) -> list[Path]:
    named = _named(place)
    places = [place]
    if named is not None and named.parent != Path(place.folder):
        # Saved there by another setting.
        places.append(CheckpointPaths(place.work_dir, str(named.parent)))
    numbers = {path: one.number(path) for one in places for path in one.checkpoints()}
    if named is None:
        order = sorted(numbers, key=_modified, reverse=True)
        _warn_of_disagreement(order, numbers)
        return order
    kind, number = numbers.pop(named, (None, 0))
    when = _modified(named)[0]
    ahead, behind, others = [], [], []
    for path, (its_kind, its_number) in numbers.items():
        if its_kind != kind:
            others.append(path)
        elif its_number < number:
            behind.append(path)
        else:
            (ahead if _modified(path)[0] >= when else others).append(path)

    def by_number(path: Path) -> int:
        return numbers[path][1]

    return [
        *sorted(ahead, key=by_number, reverse=True),
        named,
        *sorted(behind, key=by_number, reverse=True),
        *sorted(others, key=_modified, reverse=True),
    ]


def _named(place: CheckpointPaths) -> Path | None:
    """The checkpoint that is said to be the last one, if it is there."""
    pointer = Path(place.work_dir, POINTER)
    if not pointer.is_file():
        return None
    text = pointer.read_text(errors='replace').strip('\n\0')
    path = Path(text)
    if text and not path.is_file():
        # A work dir that was moved, or copied from another machine.
        path = Path(place.folder, path.name)
    return path if text and path.is_file() else None


def _warn_of_disagreement(
    order: list[Path], numbers: Mapping[Path, tuple[str, int] | None]
) -> None:
    if not order:
        return
    kind, number = numbers[order[0]]
    highest = max((n, str(path)) for path, (k, n) in numbers.items() if k == kind)
    if highest[0] > number:
        _warn(
            f'{order[0]} is newer than {highest[1]}, and no file {POINTER} says which of them is '
            'the last one: the newer is taken. Name another one with --resume CHECKPOINT.'
        )


def _modified(path: Path) -> tuple[int, Path]:
    return path.stat().st_mtime_ns, path


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)


def agreed_checkpoint(place: CheckpointPaths) -> str | None:
    """What the first of several processes finds with :func:`latest_readable_checkpoint`.

    Args:
        place: Where they lie, which all processes see.

    Raises:
        ValueError: As there, in all processes.
    """
    found: list[str | None] = [None, None]
    if is_main_process():
        try:
            found[0] = latest_readable_checkpoint(place)
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
