"""The file of results: one line of JSON for each finished run."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from .schema import expect

_KEY = ('study', 'run', 'config_hash')


def key_of(record: dict[str, Any]) -> tuple[str, ...]:
    """Study, run and hash of the config, which identify a run in the results."""
    return tuple(record[name] for name in _KEY)


def read_results(path: str | Path) -> list[dict[str, Any]]:
    """All results of a file, in its order; none if there is no file.

    A last line that breaks off, as after a loss of power, is left out: that run is made again. One
    that only lacks its line end, as editors leave it, is read.

    Raises:
        StudyError: If another line is no result of a study.
    """
    path = Path(path)
    lines = path.read_bytes().split(b'\n') if path.exists() else []
    records = list(map(_parse, lines))
    for number, line in enumerate(lines, 1):
        expect(
            records[number - 1] is not None or number == len(lines) or not line.strip(),
            f'{path}, line {number}: not a result of a study, which is JSON with study, run and '
            'config_hash. Remove the line, or name another file.',
        )
    return [record for record in records if record is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (RecursionError, ValueError):
        return None
    is_result = isinstance(record, dict) and all(isinstance(record.get(n), str) for n in _KEY)
    return record if is_result else None


def append_result(path: str | Path, record: dict[str, Any]) -> bool:
    """Add a line and return True, unless the file has one of this run.

    Several processes may do so at the same time: lines are written whole, and none twice. The file
    and its folder are made.

    Raises:
        StudyError: If the file holds something else.
        ValueError: If a number is not finite.
    """
    line = json.dumps(record, separators=(',', ':'), allow_nan=False, ensure_ascii=False) + '\n'
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+b') as file:
        # The lock goes with the file.
        fcntl.flock(file, fcntl.LOCK_EX)
        if key_of(record) in map(key_of, read_results(path)):
            return False
        file.seek(0)
        before = file.read()
        last = before[before.rfind(b'\n') + 1 :]
        if _parse(last) is not None:
            line = '\n' + line
        elif last:
            # The rest of a line that was being written when the power went.
            file.truncate(len(before) - len(last))
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return True
