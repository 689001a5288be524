"""The results of a study, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results_file import ResultsError, read_results
from .study_file import is_name


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        method: Its name.
        arm: What is compared.
        epochs: Length of the run.
        seed: Of the run.
        knn: Top-1 accuracy in percent after the last epoch.
        linear: Likewise; ``None`` if it was not evaluated.
        seconds: That training took.
        cpu_seconds: Of the process meanwhile; ``None`` if it was not measured.
        curve: Lists by name, see :class:`Curve`.
        selection: Lists by name; ``None`` of a baseline.
        record: The whole line.
    """

    method: str
    arm: str
    epochs: int
    seed: int
    knn: float
    linear: float | None
    seconds: float
    cpu_seconds: float | None
    curve: dict[str, list[Any]]
    selection: dict[str, Any] | None
    record: dict[str, Any]


#: Runs that differ by their seed alone.
Cell = tuple[str, str, int]


def load_results(paths: Iterable[str | Path]) -> list[Result]:
    """Read files of results.

    Args:
        paths: Of the files.

    Raises:
        FileNotFoundError: If there is none.
        ResultsError: If a line is no result, or two are of one run.
    """
    found: dict[tuple[Cell, int], Result] = {}
    for path in paths:
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: there is no such file of results.')
        for record in read_results(path):
            result = _parse(record, path)
            key = (cell_of(result), result.seed)
            if key in found:
                hashes = [str(r['config_hash'])[:8] for r in (found[key].record, record)]
                raise ResultsError(
                    f'{path}: two lines are of run {record["run"]}, with config_hash '
                    f'{" and ".join(hashes)}: remove those that do not count.'
                )
            found[key] = result
    return list(found.values())


def cell_of(result: Result) -> Cell:
    return result.method, result.arm, result.epochs


def by_cell(results: Sequence[Result]) -> dict[Cell, list[Result]]:
    """Results by method, arm and epochs, in the order in which these first come, seeds in order."""
    methods = list(dict.fromkeys(result.method for result in results))
    arms = list(dict.fromkeys(result.arm for result in results))
    cells: dict[Cell, list[Result]] = {}
    for result in sorted(
        results,
        key=lambda r: (methods.index(r.method), arms.index(r.arm), r.epochs, r.seed),
    ):
        cells.setdefault(cell_of(result), []).append(result)
    return cells


#: Beyond this an int is no float, and nothing that a run has measured.
_LARGEST = 2**53


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Not of NaN, either.
    return is_number and abs(value) <= _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and value >= 0


def _is_measured(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_lists(values: Any, names: Sequence[str]) -> bool:
    """Whether there are lists of these names, equally long, not empty, the first without gaps."""
    lists = [values.get(name) for name in names] if isinstance(values, dict) else [None]
    return (
        all(isinstance(one, list) and all(map(_is_measured, one)) for one in lists)
        and len({len(one) for one in lists}) == 1
        and bool(lists[0])
        and None not in lists[0]
    )


_OVERLAP = ('iou_kept', 'iou_all', 'iou_gap')
_FIT: dict[str, Callable[[Any], bool]] = {
    'method': is_name,
    'arm': is_name,
    'epochs': _is_whole,
    'seed': _is_whole,
    'knn': _is_number,
    'linear': _is_measured,
    'seconds': _is_number,
    'cpu_seconds': _is_measured,
    'curve': lambda value: _are_lists(value, ('epoch', 'seconds', 'cpu_seconds', 'knn')),
    # Without two target views there is no IoU.
    'selection': lambda value: (
        value is None
        or (
            isinstance(value, dict)
            and _are_lists(value, ('epoch', *(name for name in _OVERLAP if name in value)))
        )
    ),
}


def _parse(record: dict[str, Any], path: str | Path) -> Result:
    for name, is_fit in _FIT.items():
        if name not in record or not is_fit(record[name]):
            shown = repr(record[name]) if name in record else 'missing'
            raise ResultsError(
                f'{path}: {name} of run {record["run"]!r} is {shown[:200]}, which '
                'tools/study/run.py does not write: remove the line, and run the study again.'
            )
    return Result(**{name: record[name] for name in _FIT}, record=record)


def values_by_seed(
    results: Sequence[Result], value: Callable[[Result], float | None]
) -> dict[int, float]:
    """A number of each run by its seed, of those that have it."""
    found = {result.seed: value(result) for result in results}
    return {seed: number for seed, number in found.items() if number is not None}
