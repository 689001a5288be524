"""Read the work dir of a run of MMEngine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from ..utils.dumped_config import parse_config
from ..utils.printable import printable
from .run_config import PRETRAINING, ConfigSummary, summarize_config
from .run_log import RunLog, TrainRecord, number, read_log, whole_number


@dataclass
class Run:
    """A run, as far as its work dir tells.

    Attributes:
        name: A printable name that tells it from the other runs.
        knn: Top-1 accuracy of the k-NN classifier in percent by k and by number of epochs done.
        checkpoints: Epochs (iterations, if the run has no epochs) of the checkpoints.
        notes: Parts that could not be read, one sentence each.
        config_file: The file that ``config`` was read from.
    """

    path: Path
    name: str
    config: ConfigSummary
    log: RunLog
    knn: dict[int, dict[int, float]]
    checkpoints: set[int]
    notes: list[str]
    config_file: Path | None = None

    @property
    def done(self) -> int | None:
        """Finished epochs, or iterations if the run counts these; None if nothing tells."""
        log = self.log
        if not self.config.by_epoch:
            return max([*self.checkpoints, *(r.iteration for r in log.train[-1:])], default=None)
        current = log.last_epoch
        finished = {*self.checkpoints, *log.validation, *log.knn}
        if current is not None:
            # Later ones are of an earlier run in the same folder.
            finished = {epoch for epoch in finished if epoch <= current} | {current - 1}
        return max(finished, default=None)

    @property
    def seconds_per_step(self) -> float | None:
        """Median time of a logged iteration without the first one after each start."""
        times = self._logged('time')
        warm = [time for record, time in times if not record.is_first]
        return median(warm or [time for _, time in times]) if times else None

    @property
    def memory(self) -> float | None:
        """Highest memory of the GPU that was logged, in MiB; None on the CPU."""
        return max((value for _, value in self._logged('memory') if value), default=None)

    @property
    def loss(self) -> float | None:
        """The last loss that was logged, which MMEngine averages over its window."""
        return next((loss for _, loss in reversed(self._logged('loss'))), None)

    def loss_by_epoch(self) -> dict[int, float]:
        """Mean of the logged losses of each epoch."""
        losses: dict[int, list[float]] = {}
        for record, loss in self._logged('loss'):
            if record.epoch is not None:
                losses.setdefault(record.epoch, []).append(loss)
        return {epoch: fmean(values) for epoch, values in losses.items()}

    def health(self, name: str) -> dict[int, float]:
        """A number of ``HealthHook`` by epochs, or iterations, done; NaN is left out."""
        return {
            done: value
            for done, record in sorted(self.log.health.items())
            if (value := number(record.get(f'health/{name}'))) is not None and value == value
        }

    def accuracies(self) -> dict[int, float]:
        """Top-1 accuracy in percent of each validation of a classifier, in order."""
        return {
            done: value
            for done, record in sorted(self.log.validation.items())
            if (value := number(record.get('accuracy/top1'))) is not None
        }

    def _logged(self, name: str) -> list[tuple[TrainRecord, float]]:
        found = [(record, number(record.scalars.get(name))) for record in self.log.train]
        return [(record, value) for record, value in found if value is not None]


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read work dirs; a run is named by the shortest end of its path that tells it apart.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If a folder is no work dir, or is given twice.
    """
    resolved = [Path(path).resolve() for path in paths]
    for position, (path, folder) in enumerate(zip(paths, resolved)):
        _check_work_dir(Path(path))
        if folder in resolved[:position]:
            raise ValueError(f'{str(path)!r} is given twice.')
    return [_read_run(path, printable(_short_name(path, resolved))) for path in resolved]


def check_neighbors(k: int) -> None:
    """Raise a ``ValueError`` unless the number of neighbors of a k-NN accuracy is at least 1."""
    if k < 1:
        raise ValueError(f'--k {k}: it takes at least 1 neighbor.')


def is_work_dir(path: Path) -> bool:
    """Whether a run of MMEngine has written into a folder."""
    return any(path.glob('*/vis_data')) or (path / 'last_checkpoint').is_file()


def _check_work_dir(path: Path) -> None:
    shown = repr(str(path))
    if not path.is_dir():
        kind = 'is a file, not a folder' if path.exists() else 'does not exist'
        raise FileNotFoundError(f'run {shown} {kind}. Name a work dir.')
    if (path / 'vis_data').is_dir():
        raise ValueError(f'{shown} is one start of a run. Name the work dir, its parent folder.')
    if not is_work_dir(path):
        raise ValueError(
            f'{shown} is no work dir of MMEngine: it has neither <time>/vis_data nor '
            'last_checkpoint. Name the folder that training wrote, its --work-dir.'
        )


def _short_name(path: Path, paths: Sequence[Path]) -> str:
    """The fewest last parts of a path that no other path ends with."""
    length = 1
    while sum(other.parts[-length:] == path.parts[-length:] for other in paths) > 1:
        length += 1
    return '/'.join(path.parts[-length:])


def _read_run(path: Path, name: str) -> Run:
    log = read_log(path)
    notes = [
        f'{name}: {count} unreadable line(s) of {file.relative_to(path)} are left out.'
        for file, count in log.unreadable.items()
    ]
    files = _config_files(path, log)
    config_file = files[0] if files else None
    summary = summarize_config({})
    if config_file is None:
        notes.append(f'{name}: there is no config.')
    else:
        try:
            summary = _read_config(config_file)
        except ValueError as error:
            notes.append(f'{name}: {error}')
    if summary.kind != PRETRAINING and summary.checkpoint is None:
        summary = summary._replace(checkpoint=_first_checkpoint(files[1:]))
    knn: dict[int, dict[int, float]] = {}
    for epoch, record in sorted(log.knn.items()):
        for entry, value in record.items():
            match = re.fullmatch(r'knn/top1_k(\d+)', entry)
            if match and number(value) is not None:
                knn.setdefault(int(match[1]), {})[epoch] = value
    for file in sorted(path.glob('knn_*.json')):
        try:
            _add_knn_file(knn, file, log.last_epoch)
        except (RecursionError, TypeError, ValueError) as error:
            notes.append(f'{name}: {file.name} is left out: {error}.')
    checkpoints = _checkpoints(path, summary.by_epoch)
    return Run(path, name, summary, log, knn, checkpoints, list(map(printable, notes)), config_file)


def _config_files(path: Path, log: RunLog) -> list[Path]:
    """Dumped configs: of the latest start that trained, of other starts, of the work dir."""
    starts = sorted(path.glob('*/vis_data/config.py'), reverse=True)
    if log.source is not None:
        starts.insert(0, log.source / 'config.py')
    dumped = sorted(path.glob('*.py'), key=lambda file: file.stat().st_mtime, reverse=True)
    return [file for file in (*starts, *dumped) if file.is_file()]


def _read_config(file: Path) -> ConfigSummary:
    return summarize_config(parse_config(file.read_text(encoding='utf-8', errors='replace')))


def _first_checkpoint(files: Sequence[Path]) -> str | None:
    """The checkpoint of a classifier's first start: tools/train.py may resume it without."""
    for file in files:
        with suppress(ValueError):
            if checkpoint := _read_config(file).checkpoint:
                return checkpoint
    return None


def _checkpoints(path: Path, by_epoch: bool) -> set[int]:
    names = [file.name for file in path.glob('*.pth')]
    last = path / 'last_checkpoint'
    if last.is_file():
        names.append(Path(last.read_text(errors='replace').strip()).name)
    pattern = re.compile(rf'{"epoch" if by_epoch else "iter"}_(\d+)\.pth')
    return {int(match[1]) for match in map(pattern.fullmatch, names) if match}


def _add_knn_file(knn: dict[int, dict[int, float]], file: Path, last_epoch: int | None) -> None:
    """Add a result of ``tools/eval_knn.py``, which replaces the logged one of its epoch."""
    content = json.loads(file.read_text(encoding='utf-8'))
    if not isinstance(content, Mapping) or not isinstance(content.get('k'), Mapping):
        raise ValueError('it is no result of tools/eval_knn.py')
    epoch = whole_number(content.get('epoch'))
    if epoch is None:
        raise ValueError('it does not say after which epoch')
    # A later epoch than the log has is of another run in the same folder.
    if content.get('network') == 'student' or (last_epoch is not None and epoch > last_epoch):
        return
    for k, accuracy in content['k'].items():
        value = number(accuracy.get('top1')) if isinstance(accuracy, Mapping) else None
        if value is not None:
            knn[int(k)] = dict(sorted({**knn.get(int(k), {}), epoch: value}.items()))
