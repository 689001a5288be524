"""The numbers that MMEngine wrote into a work dir, across all starts of the run."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..utils.arguments import is_whole

#: Every integer up to here is a float, too.
_LARGEST = 2**53


class TrainRecord(NamedTuple):
    """One logged iteration of the training.

    ``iteration`` and ``epoch`` count from 1; ``epoch`` is None if the run counts iterations only.
    The times of the first one after a start (``is_first``) contain the warming up.
    """

    iteration: int
    epoch: int | None
    is_first: bool
    scalars: dict[str, Any]

    @property
    def position(self) -> int:
        """The epoch, or the iteration: MMEngine resumes at the start of an epoch."""
        return self.iteration if self.epoch is None else self.epoch


@dataclass
class RunLog:
    """The logs of a run.

    A run that was stopped and resumed has several logs. A later one replaces the earlier ones from
    its first epoch on, which was trained again. A new start without resuming replaces all.

    Attributes:
        train: Logged iterations in order.
        validation: Results of validation by the number of epochs (iterations, if the run has no
            epochs) after which it ran.
        knn: Entries of ``KNNHook``, ``'knn/top1_k20'`` ..., by the number of epochs done.
        health: Entries of ``HealthHook``, ``'health/feature_rank'`` ..., likewise, or by that of
            iterations.
        selection: Entries of ``SelectionStatsHook``, ``'selection/iou_kept'`` ..., in order.
        source: The ``vis_data`` folder of the latest log; None if there is no log.
        unreadable: Number of lines that cannot be read, by file. The last line of a file does not
            count: a run that still trains has not finished writing it.
    """

    train: list[TrainRecord] = field(default_factory=list)
    validation: dict[int, dict[str, Any]] = field(default_factory=dict)
    knn: dict[int, dict[str, Any]] = field(default_factory=dict)
    health: dict[int, dict[str, Any]] = field(default_factory=dict)
    selection: list[TrainRecord] = field(default_factory=list)
    source: Path | None = None
    unreadable: dict[Path, int] = field(default_factory=dict)

    @property
    def last_epoch(self) -> int | None:
        """The epoch of the last logged iteration, which may be unfinished."""
        return self.train[-1].epoch if self.train else None


def read_log(work_dir: Path) -> RunLog:
    """Read ``<time of the start>/vis_data/scalars.json`` of all starts; empty if there is none."""
    log = RunLog()
    # MMEngine names the folders by the time of the start: names sort by time.
    for folder in sorted(work_dir.glob('*/vis_data')):
        # It has the lines of `<time>.json`, and those of hooks that name no file.
        files = [folder / 'scalars.json', *sorted(folder.glob('*.json'))]
        path = next(filter(Path.is_file, files), None)
        if path is not None:
            _merge(log, folder, _read_lines(log, path))
    return log


def number(value: Any) -> float | None:
    """The value if it is a number, NaN and infinity included, else None."""
    return value if isinstance(value, float) else whole_number(value)


def whole_number(value: Any) -> int | None:
    """The value if it is an int of at most 2**53, else None."""
    return value if is_whole(value, -_LARGEST, _LARGEST) else None


def _read_lines(log: RunLog, path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    records = []
    for position, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (RecursionError, ValueError):
            record = None
        if isinstance(record, dict):
            records.append(record)
        elif line.strip() and position < len(lines):
            log.unreadable[path] = log.unreadable.get(path, 0) + 1
    return records


def _merge(log: RunLog, folder: Path, records: list[dict[str, Any]]) -> None:
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        kinds[_kind(record)].append(record)
    train, selection = _iterations(kinds['train']), _iterations(kinds['selection'])
    if train or selection:
        start = (train or selection)[0].position
        log.train = [record for record in log.train if record.position < start]
        log.selection = [record for record in log.selection if record.position < start]
        for results in (log.validation, log.knn, log.health):
            for old in [old for old in results if old >= start or not log.train]:
                del results[old]
        log.train += train
        log.selection += selection
    if train or not log.train:
        log.source = folder
    for results, kind in ((log.validation, 'validation'), (log.knn, 'knn'), (log.health, 'health')):
        for record in kinds[kind]:
            done = whole_number(record.get('epoch', record.get('step')))
            if done is not None:
                results[done] = record


def _kind(record: dict[str, Any]) -> str:
    """Which part of the log a record belongs to; hooks log the iteration, too."""
    for hook in ('knn', 'selection', 'health'):
        if any(name.startswith(f'{hook}/') for name in record):
            return hook
    return 'validation' if whole_number(record.get('iter')) is None else 'train'


def _iterations(records: list[dict[str, Any]]) -> list[TrainRecord]:
    found = [record for record in records if whole_number(record.get('iter')) is not None]
    return [
        TrainRecord(record['iter'], whole_number(record.get('epoch')), position == 0, record)
        for position, record in enumerate(found)
    ]
