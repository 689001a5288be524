"""The file of results: one line of JSON for each finished run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class ResultsError(ValueError):
    """A file that holds something else than results."""


def read_results(path: str | Path) -> list[dict[str, Any]]:
    """All results of a file, in its order.

    A last line that breaks off, of a machine that lost its power, is left out: that run is made
    again. One that lacks nothing but its end, as editors leave it, is read.

    Args:
        path: Of the file. None is like an empty one.

    Raises:
        ResultsError: If another line is none of a study.
    """
    path = Path(path)
    if not path.exists():
        return []
    *lines, last = path.read_bytes().split(b'\n')
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parse(line)
        if record is None:
            raise ResultsError(
                f'{path}, line {number}: not a result of a study, which is JSON with study, run '
                'and config_hash. Remove the line, or name another file.'
            )
        found.append(record)
    record = _parse(last)
    return found if record is None else [*found, record]


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line; what breaks off is no JSON."""
    try:
        record = json.loads(line)
    except (RecursionError, ValueError):
        return None
    names = ('study', 'run', 'config_hash')
    if isinstance(record, dict) and all(isinstance(record.get(name), str) for name in names):
        return record
    return None


def key_of(record: dict[str, Any]) -> tuple[str, str, str]:
    """What a run is recognized by: study, run and hash of the config."""
    return record['study'], record['run'], record['config_hash']


def append_result(path: str | Path, record: dict[str, Any]) -> bool:
    """Add a line, unless there is one of this run.

    Several processes may do so at once: lines are whole, and none stands there twice.

    Args:
        path: Of the file; it and its folder are made.
        record: What ``json`` writes, without NaN.

    Returns:
        Whether it was added.

    Raises:
        ResultsError: If the file holds something else.
        ValueError: If a number is not finite.
    """
    line = json.dumps(record, separators=(',', ':'), allow_nan=False, ensure_ascii=False) + '\n'
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        if key_of(record) in map(key_of, read_results(path)):
            return False
        file.seek(0)
        before = file.read()
        last = before[before.rfind(b'\n') + 1 :]
        if _parse(last) is not None:
            line = '\n' + line
        elif last:
            # What is left of a line that was being written when the power went.
            file.truncate(len(before) - len(last))
        file.seek(0, os.SEEK_END)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return True


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with open(path, 'a+b') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # It goes with the file.
        yield file
