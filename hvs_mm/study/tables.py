"""Tables of a study, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..reports.comparison import markdown_rows
from ..utils.printable import printable
from .estimates import Estimate, Interval, estimate, interval, paired_difference
from .results import Cell, Result, by_cell, values_by_seed

_MISSING = '-'
#: What ``SelectionStatsHook`` logs of kept views and of all, and what a table calls it.
SELECTED_QUANTITIES = {
    'iou': 'IoU',
    'local_iou': 'IoU with local crops',
    'center_distance': 'distance of centers',
    'color': 'color jitter',
    'masked': 'masked share',
}


class BlockError(ValueError):
    """A block of a page that cannot be filled."""


def accuracy_table(
    results: Sequence[Result], relative_to: str = 'baseline', times: bool = True
) -> str:
    """Accuracies and times of each method, arm and length: means with standard errors.

    Beside them is the k-NN accuracy before training, which features have by their architecture.

    Args:
        results: Of a study.
        relative_to: The arm whose time is 1, in runs of the same method, length and seeds.
        times: Whether to show times: those of different machines cannot be compared.
    """
    cells = by_cell(results)
    clock = _Clock.of(results)
    header = ['method', 'arm', 'epochs', 'seeds', 'untrained k-NN %', 'k-NN %', 'linear %']
    lines = [[*header, 'training s', clock.name] if times else header]
    notes = list(clock.notes) if times else []
    for (method, arm, epochs), found in cells.items():
        notes += _without_linear(f'{method}, {_title(cells, (method, arm, epochs))}', found)
        line = [
            method,
            arm,
            str(epochs),
            str(len(found)),
            _mean(found, lambda r: _knn_at(r, 0)),
            _mean(found, lambda r: r.knn),
            _mean(found, lambda r: r.linear),
        ]
        if times:
            line.append(_mean(found, lambda r: r.seconds, 1))
            line.append(clock.ratio(found, cells.get((method, relative_to, epochs), [])))
        lines.append(line)
    return _table(lines, notes)


def differences_table(
    results: Sequence[Result], pairs: Sequence[dict[str, Any]], times: bool = True
) -> str:
    """What one arm is above another, paired by seed, with 95 % confidence intervals.

    Args:
        results: Of a study.
        pairs: Each with ``arm`` and ``minus``, and with ``epochs`` and ``minus_epochs`` where an
            arm has runs of several lengths; with ``since`` it is the difference of what k-NN
            accuracy both have gained after that epoch; ``methods`` are all by default.
        times: Whether to show the ratio of times: those of different machines cannot be compared.

    Raises:
        BlockError: If there are no such runs, or none that were evaluated after epoch ``since``.
    """
    cells = by_cell(results)
    clock = _Clock.of(results)
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    header = ['method', 'difference', 'seeds', 'k-NN points', 'linear points']
    lines = [[*header, clock.name] if times else header]
    notes = list(clock.notes) if times else []
    for pair in pairs:
        for method in pair.get('methods', []):
            if method not in methods:
                raise BlockError(f'pairs: there are no runs of method {method!r}.')
    for method in methods:
        for pair in pairs:
            if method not in pair.get('methods', methods):
                continue
            first = _choose(cells, method, pair, 'arm', 'epochs')
            second = _choose(cells, method, pair, 'minus', 'minus_epochs')
            title = f'{_title(cells, first)} - {_title(cells, second)}'
            # Of a method that lacks one of them there is nothing to say but that.
            if first not in cells or second not in cells:
                lacking = [_title(cells, cell) for cell in (first, second) if cell not in cells]
                notes.append(f'{method} has no runs of {" and ".join(lacking)}.')
                continue
            runs = (cells[first], cells[second])
            since = pair.get('since')
            if since is not None:
                title += f', gained after epoch {since}'
            (knn_of_first, linear_of_first), (knn_of_second, linear_of_second) = (
                _accuracies(found, since) for found in runs
            )
            knn = paired_difference(knn_of_first, knn_of_second)
            linear = paired_difference(linear_of_first, linear_of_second)
            if knn.unpaired:
                seeds = ', '.join(map(str, knn.unpaired))
                notes.append(f'{method}, {title}: without seeds that one of both lacks, {seeds}.')
            if since is None:
                notes += _without_linear(f'{method}, {title}', *runs)
            number = knn.interval.number if knn.interval else 0
            line = [method, title, str(number), _signed(knn.interval), _signed(linear.interval)]
            lines.append([*line, clock.ratio(*runs)] if times else line)
    return _table(lines, notes)


def tuning_table(results: Sequence[Result]) -> str:
    """The settings of each method, the best first, which is chosen: by its mean k-NN accuracy.

    Args:
        results: Of a study whose arms are settings.
    """
    cells = by_cell(results)
    lines = [['method', 'setting', 'epochs', 'seeds', 'k-NN %', 'linear %', 'chosen']]
    notes = []
    for method in dict.fromkeys(method for method, _, _ in cells):
        own = {cell: found for cell, found in cells.items() if cell[0] == method}
        ranked = sorted(own, key=lambda cell: -estimate([r.knn for r in own[cell]]).mean)
        seeds = {cell: frozenset(r.seed for r in found) for cell, found in own.items()}
        for cell in ranked:
            lines.append(
                [
                    method,
                    cell[1],
                    str(cell[2]),
                    str(len(own[cell])),
                    _mean(own[cell], lambda r: r.knn),
                    _mean(own[cell], lambda r: r.linear),
                    'yes' if cell == ranked[0] else '',
                ]
            )
        if len(set(seeds.values())) > 1:
            notes.append(f'{method}: the settings were not run with the same seeds.')
        if len({epochs for _, _, epochs in own}) > 1:
            notes.append(f'{method}: the settings were not run for the same number of epochs.')
    return _table(lines, notes)


def selection_table(results: Sequence[Result], quantity: str = 'iou') -> str:
    """How kept views differ from all, over the seeds, in three epochs with selection.

    Args:
        results: Of a study. Those without selection are left out.
        quantity: One of :data:`SELECTED_QUANTITIES`.
    """
    lines = [
        [
            'method', 'arm', 'epochs', 'seeds', f'{SELECTED_QUANTITIES[quantity]} of all',
            'kept minus all, first', 'middle', 'last', 'in epochs',
        ]
    ]  # fmt: skip
    for (method, arm, epochs), found in by_cell([r for r in results if r.selection]).items():
        # Selection may begin late.
        common = set.intersection(*(set(r.selection['epoch']) for r in found))
        numbers = sorted(common)
        if not numbers:
            continue
        last = len(numbers) - 1
        shown = [numbers[0], numbers[last // 2], numbers[last]]
        gaps = [_gaps(found, quantity, epoch) for epoch in shown]
        of_all = _selected(found, f'{quantity}_all', numbers[last])
        lines.append(
            [
                method,
                arm,
                str(epochs),
                str(len(found)),
                f'{estimate(of_all).mean:.3f}' if of_all else _MISSING,
                *(_signed(interval(values) if values else None, 4) for values in gaps),
                ', '.join(map(str, shown)),
            ]
        )
    return _table(lines)


def _gaps(found: Sequence[Result], quantity: str, epoch: int) -> list[float]:
    """Of the kept views minus that of all, of the runs that have it in an epoch."""
    if quantity == 'iou':
        # With more digits than the difference of what was rounded.
        return _selected(found, 'iou_gap', epoch)
    kept, of_all = (_selected(found, f'{quantity}_{of}', epoch) for of in ('kept', 'all'))
    return [one - other for one, other in zip(kept, of_all, strict=True)]


def _selected(found: Sequence[Result], name: str, epoch: int) -> list[float]:
    """A statistic of the selection in an epoch, of the runs that have it."""
    values = (dict(zip(r.selection['epoch'], r.selection.get(name, []))).get(epoch) for r in found)
    return [value for value in values if value is not None]


def provenance_table(results: Sequence[Result], command: str | None = None) -> str:
    """With what the runs were made.

    Args:
        results: Of a study.
        command: That they were made with.
    """
    records = [result.record for result in results]

    def told(value: Callable[[dict[str, Any]], Any]) -> str:
        counts = Counter(map(value, records))
        if len(counts) == 1:
            return str(next(iter(counts)))
        return ', '.join(f'{name} ({number} runs)' for name, number in sorted(counts.items()))

    versions = [record.get('versions') or {} for record in records]
    names = dict.fromkeys(name for found in versions for name in found)
    started = sorted(str(record.get('started')) for record in records)
    cpu = [result.cpu_seconds for result in results]
    starts = [len(_starts(record)) for record in records]
    resumed = f'{sum(number > 1 for number in starts)} runs'
    if 0 in starts:
        resumed += f', and {starts.count(0)} do not tell'
    lines = [['', ''], ['runs', str(len(results))]]
    if command is not None:
        lines.append(['command', command])
    lines += [
        ['revision', told(_revision)],
        *([name, told(lambda r, name=name: _version(r, name))] for name in names),
        ['device', told(lambda r: str(r.get('device')))],
        ['threads of a run', told(lambda r: str(r.get('threads')))],
        ['runs at a time', told(lambda r: str(r.get('jobs')))],
        ['started, UTC', f'{started[0]} to {started[-1]}'],
        ['went on after a stop', resumed],
        ['training, hours', f'{sum(result.seconds for result in results) / 3600:.1f}'],
    ]
    if None not in cpu:
        lines.append(['CPU time of it, hours', f'{sum(cpu) / 3600:.1f}'])
    return _table(lines)


@dataclass(frozen=True)
class _Clock:
    """What the times of a table are of.

    Attributes:
        name: Of the column.
        seconds: Of a run.
        notes: Why they may mislead.
    """

    name: str
    seconds: Callable[[Result], float | None]
    notes: list[str]

    @classmethod
    def of(cls, results: Sequence[Result]) -> _Clock:
        """CPU time where all runs have it, else that of the wall clock."""
        devices = sorted({str(result.record.get('device')) for result in results})
        notes = [f'times are of several devices, {", ".join(devices)}.'] if devices[1:] else []
        machines = {
            str(one['machine'])
            for result in results
            for one in _starts(result.record)
            if one.get('machine')
        }
        if len(machines) > 1 and not notes:
            notes = [f'times are of {len(machines)} machines, or of one that was started again.']
        if any(result.cpu_seconds is None for result in results):
            return cls('time', lambda r: r.seconds, notes)
        return cls('CPU time', lambda r: r.cpu_seconds, notes)

    def ratio(self, first: Sequence[Result], second: Sequence[Result]) -> str:
        """Time of some runs over that of others, of the seeds that both have, and its range."""
        one, other = (values_by_seed(found, self.seconds) for found in (first, second))
        common = sorted(seed for seed in one.keys() & other.keys() if other[seed])
        if not common:
            return _MISSING
        ratio = sum(one[seed] for seed in common) / sum(other[seed] for seed in common)
        each = [f'{one[seed] / other[seed]:.2f}' for seed in common]
        low, high = (pick(each, key=float) for pick in (min, max))
        return f'{ratio:.2f}' if low == high else f'{ratio:.2f} ({low} to {high})'


def _choose(
    cells: dict[Cell, Any], method: str, pair: dict[str, Any], name: str, length: str
) -> Cell:
    arm, epochs = pair[name], pair.get(length)
    if not any(cell[1] == arm for cell in cells):
        raise BlockError(f'{name}={arm!r}: there are no runs of this arm.')
    if epochs is None:
        lengths = sorted({cell[2] for cell in cells if cell[1] == arm})
        if len(lengths) > 1:
            raise BlockError(f'{name}={arm!r} has runs of {lengths} epochs: choose with {length}.')
        epochs = lengths[0]
    return method, arm, epochs


def _accuracies(
    found: Sequence[Result], since: int | None
) -> tuple[dict[int, float], dict[int, float]]:
    """k-NN and linear accuracies by seed, or what they have gained after an epoch.

    The linear one is of the end alone: nobody knows what it has gained.
    """
    if since is None:
        return values_by_seed(found, lambda r: r.knn), values_by_seed(found, lambda r: r.linear)
    return values_by_seed(found, lambda r: r.knn - _knn_after(r, since)), {}


def _knn_after(result: Result, epoch: int) -> float:
    accuracy = _knn_at(result, epoch)
    if accuracy is None:
        known = result.curve['epoch']
        raise BlockError(
            f'since={epoch}: run {result.record["run"]} has k-NN accuracies after epochs {known}.'
        )
    return accuracy


def _knn_at(result: Result, epoch: int) -> float | None:
    """k-NN accuracy after an epoch, 0 for before training; ``None`` if it was not evaluated."""
    return dict(zip(result.curve['epoch'], result.curve['knn'])).get(epoch)


def _without_linear(title: str, *arms: Sequence[Result]) -> list[str]:
    """A note on seeds that all arms have, but not all with a linear accuracy that others have."""
    seeds = set.intersection(*({result.seed for result in found} for found in arms))
    linear = set.intersection(*(set(values_by_seed(found, lambda r: r.linear)) for found in arms))
    lacking = ', '.join(map(str, sorted(seeds - linear)))
    return [f'{title}: linear without seeds {lacking}.'] if linear and lacking else []


def _title(cells: dict[Cell, Any], cell: Cell) -> str:
    lengths = {epochs for _, _, epochs in cells}
    return cell[1] if len(lengths) == 1 else f'{cell[1]} ({cell[2]} epochs)'


def _mean(found: Sequence[Result], value: Callable[[Result], float | None], digits: int = 2) -> str:
    values = list(values_by_seed(found, value).values())
    return _with_error(estimate(values), digits) if values else _MISSING


def _with_error(value: Estimate, digits: int) -> str:
    error = '' if value.error is None else f' ± {value.error:.{digits}f}'
    return f'{value.mean:.{digits}f}{error}'


def _signed(value: Interval | None, digits: int = 2) -> str:
    if value is None:
        return _MISSING
    if value.half is None:
        return f'{value.mean:+.{digits}f} ({_MISSING})'
    low, high = value.mean - value.half, value.mean + value.half
    return f'{value.mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})'


def _revision(record: dict[str, Any]) -> str:
    revision = record.get('revision')
    if revision is None:
        return 'no git checkout'
    # Those of all processes that the run had, without repetitions.
    earlier = [start.get('revision') for start in _starts(record)[:-1]]
    revisions = dict.fromkeys(str(name)[:10] for name in [*earlier, revision])
    return f'{" then ".join(revisions)}{" with changes" if record.get("dirty") else ""}'


def _starts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The processes that a run had; lines of earlier revisions do not tell."""
    starts = record.get('starts')
    return [one for one in starts if isinstance(one, dict)] if isinstance(starts, list) else []


def _version(record: dict[str, Any], name: str) -> str:
    return str((record.get('versions') or {}).get(name, _MISSING))


def _table(lines: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table whose first two columns are text, with notes below."""
    table = markdown_rows([[printable(cell) for cell in line] for line in lines], text=2)
    return table + ''.join(f'\nNote: {printable(note)}\n' for note in notes)
