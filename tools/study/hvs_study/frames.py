"""Results of studies as data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .results import read_results
from .schema import NAME, NUMBER, expect, whole

#: Columns that runs of one cell share: they differ only by their seed.
CELL = ['method', 'arm', 'epochs']
#: Larger integers have no float, and no run measures them.
_LARGEST = 2**53


def _is_number(value: Any) -> bool:
    # NaN fails as well.
    return NUMBER.fits(value) and abs(value) <= _LARGEST


def _is_measured(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_lists(values: Any, *required: str) -> bool:
    """Whether a dict has lists of numbers with one entry an epoch."""
    epochs = values.get('epoch') if isinstance(values, dict) else None
    if not isinstance(epochs, list) or not epochs or None in epochs:
        return False
    lists = [values.get(name) for name in {*required, *values} - {'images', 'pairs'}]
    is_even = all(isinstance(one, list) and len(one) == len(epochs) for one in lists)
    return is_even and all(_is_measured(value) for one in lists for value in one)


_FIT: dict[str, Callable[[Any], bool]] = {
    'method': NAME.fits,
    'arm': NAME.fits,
    'epochs': whole(0, _LARGEST).fits,
    'seed': whole(0, _LARGEST).fits,
    'knn': _is_number,
    'linear': _is_number,
    'seconds': _is_number,
    'cpu_seconds': _is_measured,
    'curve': lambda value: _are_lists(value, 'seconds', 'cpu_seconds', 'knn'),
    'selection': lambda value: value is None or _are_lists(value),
    'transfer': lambda value: (
        isinstance(value, dict)
        and all(NAME.fits(name) and _is_number(one) for name, one in value.items())
    ),
}
#: Columns of accuracies on other images begin with this.
_TRANSFER = 'transfer_'
#: Entries that a line may lack.
_TOLD = ('revision', 'dirty', 'versions', 'device', 'threads', 'jobs', 'started')
_TOLD += ('planned_seeds', 'health')


def load_runs(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read files of results.

    Returns:
        One row for each run, with the entries of its line as columns. ``cpu_seconds`` is NaN where
        it was not measured; runs that fork after 4 epochs have ``_f4`` at the end of ``arm``;
        ``curve`` and ``selection`` are dicts of lists; ``starts`` is a list,
        empty for lines of earlier revisions. Accuracies on other images have columns of their own,
        see :func:`transfer_columns`.

    Raises:
        FileNotFoundError: If a file does not exist.
        StudyError: If a line is no result, or two lines are of one run.
    """
    records = []
    for path in paths:
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: there is no such file of results.')
        for record in read_results(path):
            record = {'transfer': {}, **record}
            for name, is_fit in _FIT.items():
                shown = repr(record.get(name, 'missing'))[:200]
                expect(
                    name in record and is_fit(record[name]),
                    f'{path}: {name} of run {record["run"]!r} is {shown}, which tools/study/run.py '
                    'does not write: remove the line, and run the study again.',
                )
            starts = record.get('starts')
            starts = starts if isinstance(starts, list) else []
            starts = [start for start in starts if isinstance(start, dict)]
            # Runs that fork after different epochs are different arms.
            fork = f'_f{record["fork"]}' if record.get('fork') else ''
            arm = record['arm'] + fork
            others = {_TRANSFER + name: value for name, value in record['transfer'].items()}
            told = {**dict.fromkeys(_TOLD), 'fork': 0, **record, **others}
            records.append({**told, 'arm': arm, 'starts': starts})
    runs = pd.DataFrame(records, columns=None if records else [*_FIT], dtype=object)
    for _, same in runs.groupby([*CELL, 'seed']):
        expect(
            len(same) == 1,
            f'two lines are of run {same.iloc[0]["run"]}, with config_hash '
            f'{" and ".join(same["config_hash"].str[:8])}: remove those that do not count.',
        )
    floats = dict.fromkeys(['knn', 'linear', 'seconds', 'cpu_seconds'], float)
    return runs.astype({'epochs': int, 'seed': int, **floats})


def transfer_columns(runs: pd.DataFrame) -> dict[str, str]:
    """Columns with linear accuracies on other images that all runs have, and their names."""
    names = [name for name in runs.columns if name.startswith(_TRANSFER)]
    return {name: name.removeprefix(_TRANSFER) for name in names if runs[name].notna().all()}


def mean_knn(runs: pd.DataFrame) -> pd.Series:
    """Mean of the k-NN accuracies that each run was evaluated with after its start or fork."""

    def mean(run: pd.Series) -> float:
        points = zip(run['curve']['epoch'], run['curve']['knn'])
        found = [knn for epoch, knn in points if epoch > run['fork'] and knn is not None]
        return sum(found) / len(found) if found else float('nan')

    return runs.apply(mean, axis=1).astype(float)


def knn_after(runs: pd.DataFrame, epoch: int) -> pd.Series:
    """k-NN accuracy of each run after an epoch, 0 for before training; NaN if not evaluated."""
    found = runs['curve'].map(lambda curve: dict(zip(curve['epoch'], curve['knn'])).get(epoch))
    return found.astype(float)


def over_epochs(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """The lists of ``'curve'``, ``'selection'`` or ``'health'``: a row for each run and epoch.

    Raises:
        StudyError: If no run has such lists.
    """
    lists = {
        run: pd.DataFrame({k: v for k, v in found.items() if isinstance(v, list)}, dtype=float)
        for run, found in runs[column].dropna().items()
    }
    needed = (
        "run the study with engine='fast'"
        if column == 'health'
        else 'choose arms that select views'
    )
    expect(lists, f'none of these runs has {column!r}: {needed}.')
    points = pd.concat(lists, names=['run']).reset_index('run')
    return points.join(runs[CELL], on='run')
