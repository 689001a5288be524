"""The folder and names of a run's checkpoints, and the last of them that can be read."""

from __future__ import annotations

import logging
import os
import os.path as osp
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

from ...utils.atomic_write import atomic_write
from ...weights.checkpoint_files import check_inflation, load_checkpoint

#: File in the work dir that names the last checkpoint.
POINTER = 'last_checkpoint'
#: Names that MMEngine gives by default.
_DEFAULT_NAMES = ('epoch_{}.pth', 'iter_{}.pth')
#: Name of a checkpoint between those that the settings ask for.
INTERIM = 'interim_iter_{}.pth'


class CheckpointError(Exception):
    """A checkpoint could not be written."""


@dataclass(frozen=True)
class CheckpointPaths:
    """The work dir of a run, the folder of its checkpoints, and their names in that folder.

    The names have ``{}`` in place of the epoch or the iteration.
    """

    work_dir: str
    folder: str
    names: tuple[str, ...] = _DEFAULT_NAMES

    @classmethod
    def from_config(cls, cfg: Config, work_dir: str) -> CheckpointPaths:
        """Read the paths of a run from the settings of its checkpoint hook."""
        hook = (cfg.get('default_hooks') or {}).get('checkpoint')
        hook = hook if isinstance(hook, Mapping) else {}
        folder = hook.get('out_dir')
        if folder is not None and str(folder) != work_dir:
            # CheckpointHook adds the name of the work dir, so that runs do not mix.
            folder = osp.join(folder, osp.basename(work_dir.rstrip(osp.sep)))
        template = hook.get('filename_tmpl')
        names = (template,) if template else _DEFAULT_NAMES
        return cls(work_dir, str(folder or work_dir), (*names, INTERIM))

    def parse(self, path: str | Path) -> tuple[str, int] | None:
        """Return the template and the number of a checkpoint's name, ``None`` for other files."""
        name = osp.relpath(osp.realpath(path), osp.realpath(self.folder))
        for template in self.names:
            head, _, tail = template.partition('{}')
            found = re.fullmatch(rf'{re.escape(head)}(\d+){re.escape(tail)}', name)
            if found:
                return template, int(found[1])
        return None

    def checkpoints(self) -> dict[Path, tuple[str, int]]:
        """Return the checkpoints in the folder, with their templates and numbers."""
        folders = {Path(self.folder, template).parent for template in self.names}
        paths = [path for folder in folders for path in folder.glob('*') if path.is_file()]
        return {path: parsed for path in paths if (parsed := self.parse(path)) is not None}

    def named_last(self) -> Path | None:
        """Return the checkpoint that the work dir names as the last one, if that file exists."""
        pointer = Path(self.work_dir, POINTER)
        if not pointer.is_file():
            return None
        text = os.fsdecode(pointer.read_bytes()).strip('\n\0')
        if not text:
            return None
        # The first also in a work dir that was moved or copied, which must not continue from its
        # original; the second after another out_dir was set.
        paths = osp.join(self.folder, osp.basename(text)), text
        # Whatever stands there is a name or none: isfile answers no where Path.is_file may raise.
        return next((Path(path) for path in paths if osp.isfile(path)), None)


def latest_readable_checkpoint(paths: CheckpointPaths) -> str | None:
    """Return the last checkpoint of a run that is not damaged, if any, and warn of damaged ones.

    MMEngine's ``find_latest_checkpoint`` takes the one that the file ``last_checkpoint`` names,
    whatever its state, and none if a process died while it wrote that file. Here the order is:

    1. checkpoints with higher numbers than the named one, if they are newer, too: a process died
       between writing the two;
    2. the named one, in whatever folder it is;
    3. those with lower numbers, the highest first;
    4. all others, the newest first; all are others if no file is named.

    Best checkpoints do not count: they lack the state that a run resumes with.

    Raises:
        ValueError: If there are checkpoints, but none can be read.
    """
    damaged: list[str] = []
    for path in _last_first(paths):
        reason = why_unreadable(path)
        if reason is None:
            for text in damaged:
                _warn(f'{text} Going on from {path}.')
            return str(path)
        damaged.append(f'The checkpoint {path} is damaged and passed over: {reason}.')
    if damaged:
        raise ValueError(
            f'--resume: no checkpoint of {paths.work_dir} can be read. {" ".join(damaged)} Name '
            'another one with --resume CHECKPOINT, or move them away to start from scratch.'
        )
    return None


def last_good_checkpoint(runner: Runner) -> str | None:
    """The last checkpoint of a run for a message; ``None`` if there is none that can be read."""
    # Of damaged ones a warning tells, in a log that perhaps cannot be written to.
    with suppress(OSError, ValueError):
        return latest_readable_checkpoint(CheckpointPaths.from_config(runner.cfg, runner.work_dir))
    return None


@contextmanager
def writing_checkpoint(runner: Runner, path: Path) -> Iterator[Path]:
    """:func:`atomic_write` of a checkpoint, whose folder is made.

    Raises:
        CheckpointError: If it cannot be written. It names the last good one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            yield unfinished
    except OSError as error:
        last = last_good_checkpoint(runner)
        last = f'The last good checkpoint is {last}.' if last else 'There is none before it.'
        raise CheckpointError(
            f'{path} cannot be written ({error.strerror or error}). {last} Make room, or name '
            'another folder with default_hooks.checkpoint.out_dir, and continue with --resume.'
        ) from error


def agreed_checkpoint(paths: CheckpointPaths) -> str | None:
    """Return the first process's :func:`latest_readable_checkpoint` in all processes.

    Raises:
        ValueError: In all processes, if there are checkpoints but none can be read.
    """
    found: list[Any] = [None]
    if is_main_process():
        try:
            found = [latest_readable_checkpoint(paths)]
        except ValueError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], ValueError):
        raise found[0]
    return found[0]


def _last_first(paths: CheckpointPaths) -> list[Path]:
    named, parsed = paths.named_last(), paths.checkpoints()
    if named is None:
        order = sorted(parsed, key=_modified, reverse=True)
        if order:
            _warn_of_disagreement(order[0], parsed)
        return order
    if named.parent != Path(paths.folder):
        # Saved there with another setting.
        parsed |= CheckpointPaths(paths.work_dir, str(named.parent)).checkpoints()
    # A file with a name of another kind shares its template with none.
    template, number = parsed.setdefault(named, ('', 0))

    def rank(path: Path) -> tuple[Any, ...]:
        its_template, its_number = parsed[path]
        if path == named or (its_template == template and its_number < number):
            return 1, its_number
        if its_template == template and _modified(path)[0] >= _modified(named)[0]:
            return 2, its_number
        return 0, _modified(path)

    return sorted(parsed, key=rank, reverse=True)


def _warn_of_disagreement(newest: Path, parsed: Mapping[Path, tuple[str, int]]) -> None:
    template, number = parsed[newest]
    highest = max((n, str(path)) for path, (t, n) in parsed.items() if t == template)
    if highest[0] > number:
        _warn(
            f'{newest} is newer than {highest[1]}, and no file {POINTER} says which of them is '
            'the last one: the newer is taken. Name another one with --resume CHECKPOINT.'
        )


def _modified(path: Path) -> tuple[int, Path]:
    return path.stat().st_mtime_ns, path


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)


def why_unreadable(path: str | Path) -> str | None:
    """Return the reason why a checkpoint cannot be read, ``None`` if it can.

    Reads every byte and compares it with the checksums that torch writes (CRC-32).
    """
    status = os.stat(path)
    return _why_unreadable(path, status.st_mtime_ns, status.st_size)


# The checks before a run and the Runner both ask about files of gigabytes.
@lru_cache
def _why_unreadable(path: str | Path, modified: int, size: int) -> str | None:
    if size == 0:
        return 'it is empty'
    try:
        if not zipfile.is_zipfile(path):
            # The format before torch 1.6, or half a file.
            load_checkpoint(path)
            return None
        check_inflation(path)
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:
        # Damaged files fail in more ways than zipfile and torch document.
        return str(error).partition('\n')[0] or type(error).__name__
    return f'the checksum of {broken} is wrong' if broken else None
