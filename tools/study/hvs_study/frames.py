"""Results of studies as data frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .results import read_results
from .schema import NAME, NUMBER, WHOLE, expect

#: Columns that runs of one cell share: they differ by their seed alone.
CELL = ['method', 'arm', 'epochs']
Cell = tuple[str, str, int]
#: Larger integers have no float, and no run measures them.
_LARGEST = 2**53


def _is_number(value: Any) -> bool:
    # NaN fails as well.
    return NUMBER.fits(value) and abs(value) <= _LARGEST


def _is_whole(value: Any) -> bool:
    return WHOLE.fits(value) and 0 <= value <= _LARGEST


def _is_measured(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_lists(values: Any, *required: str) -> bool:
    """Whether a dict has equally long lists of numbers, those of epochs without gaps."""
    if not isinstance(values, dict):
        return False
    names = {'epoch', *required, *values} - {'images', 'pairs'}
    lists = [values.get(name) for name in names]
    are_measured = all(isinstance(one, list) and all(map(_is_measured, one)) for one in lists)
    is_even = are_measured and len(set(map(len, lists))) == 1
    return is_even and bool(values['epoch']) and None not in values['epoch']


_FIT = {
    'method': NAME.fits,
    'arm': NAME.fits,
    'epochs': _is_whole,
    'seed': _is_whole,
    'knn': _is_number,
    'linear': _is_measured,
    'seconds': _is_number,
    'cpu_seconds': _is_measured,
    'curve': lambda value: _are_lists(value, 'seconds', 'cpu_seconds', 'knn'),
    'selection': lambda value: value is None or _are_lists(value),
}


def load_runs(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read files of results.

    Returns:
        One row for each run: ``method``, ``arm``, ``epochs``, ``seed``; ``knn`` and ``linear``
        accuracy in percent; ``seconds`` and ``cpu_seconds`` of training, NaN where they were not
        measured; ``curve`` and ``selection``, dicts of lists; ``record``, the whole line.

    Raises:
        FileNotFoundError: If a file does not exist.
        StudyError: If a line is no result, or two lines are of one run.
    """
    rows: list[dict[str, Any]] = []
    for path in paths:
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: there is no such file of results.')
        for record in read_results(path):
            for name, is_fit in _FIT.items():
                shown = repr(record.get(name, 'missing'))[:200]
                expect(
                    name in record and is_fit(record[name]),
                    f'{path}: {name} of run {record["run"]!r} is {shown}, which tools/study/run.py '
                    'does not write: remove the line, and run the study again.',
                )
            rows.append({**{name: record[name] for name in _FIT}, 'record': record})
    runs = pd.DataFrame(rows, columns=[*_FIT, 'record'])
    for _, same in runs.groupby([*CELL, 'seed'])['record']:
        hashes = ' and '.join(record['config_hash'][:8] for record in same)
        twice = f'two lines are of run {same.iloc[0]["run"]}, with config_hash {hashes}'
        expect(len(same) == 1, f'{twice}: remove those that do not count.')
    return runs.astype(dict.fromkeys(['knn', 'linear', 'seconds', 'cpu_seconds'], float))


def by_cell(runs: pd.DataFrame) -> dict[Cell, pd.DataFrame]:
    """Runs by method, arm and epochs, indexed by seed.

    Methods and arms keep the order in which they first come; epochs and seeds are sorted.
    """
    order = runs[[*CELL, 'seed']].copy()
    for name in ('method', 'arm'):
        order[name] = pd.factorize(order[name])[0]
    ordered = runs.loc[order.sort_values([*order]).index]
    groups = ordered.groupby(CELL, sort=False)
    return {(*names, int(epochs)): f.set_index('seed') for (*names, epochs), f in groups}


def knn_after(runs: pd.DataFrame, epoch: int) -> pd.Series:
    """k-NN accuracy of each run after an epoch, 0 for before training; NaN if not evaluated."""
    found = runs['curve'].map(lambda curve: dict(zip(curve['epoch'], curve['knn'])).get(epoch))
    return found.astype(float)


def over_epochs(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """The lists of ``'curve'`` or ``'selection'`` as columns, a row for each epoch and run."""
    found = [pd.DataFrame()]
    for lists in runs[column].dropna():
        columns = {name: values for name, values in lists.items() if isinstance(values, list)}
        found.append(pd.DataFrame(columns, dtype=float))
    return pd.concat(found, ignore_index=True)


def starts_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The processes that a run had; lines of earlier revisions do not tell."""
    starts = record.get('starts')
    return [one for one in starts if isinstance(one, dict)] if isinstance(starts, list) else []
