"""Tables of a study, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from hvs_mm.reports import markdown_rows, printable

from .frames import Cell, by_cell, knn_after, over_epochs, starts_of
from .schema import StudyError, expect

#: Level of all intervals.
LEVEL = 0.95
#: What ``SelectionStatsHook`` logs of kept views and of all, and what a table calls it.
SELECTED_QUANTITIES = {
    'iou': 'IoU',
    'local_iou': 'IoU with local crops',
    'center_distance': 'distance of centers',
    'color': 'color jitter',
    'masked': 'masked share',
}


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean of independent values and half the width of its 95 % interval (Student's t).

    Both are NaN without values, and the width is NaN for a single one.
    """
    return values.mean(), stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.sem()


def paired_difference(first: pd.Series, second: pd.Series) -> tuple[pd.Series, list[int]]:
    """Values by seed, the first minus the second, and the seeds that only one of them has.

    Runs of one seed start from the same weights and see the same images in the same order, and
    the effect of that drops out; the effect of other views does not. Where little drops out, pairs
    are worth no more than two samples, and have half the degrees of freedom.
    """
    first, second = first.dropna(), second.dropna()
    return (first - second).dropna(), sorted(first.index.symmetric_difference(second.index))


def accuracy_table(runs: pd.DataFrame, relative_to: str = 'baseline', times: bool = True) -> str:
    """Means and standard errors of accuracies and times, by method, arm and length.

    The k-NN accuracy before training shows what features have by their architecture.

    Args:
        runs: Runs of :func:`load_runs`.
        relative_to: The arm whose time is 1, in runs of the same method, length and seeds.
        times: Whether to show times: those of different machines cannot be compared.
    """
    cells, (clock, clock_name, notes) = by_cell(runs), _clock(runs, times)
    header = ['method', 'arm', 'epochs', 'seeds', 'untrained k-NN %', 'k-NN %', 'linear %']
    rows = [[*header, 'training s', clock_name] if times else header]
    for (method, arm, epochs), found in cells.items():
        notes += _without_linear(f'{method}, {_title(cells, (method, arm, epochs))}', found)
        accuracies = [knn_after(found, 0), found['knn'], found['linear']]
        row = [method, arm, epochs, len(found), *map(mean_text, accuracies)]
        if times:
            other = cells.get((method, relative_to, epochs), found[:0])
            row += [mean_text(found['seconds'], 1), _ratio(found[clock], other[clock])]
        rows.append(row)
    return _table(rows, notes)


def differences_table(
    runs: pd.DataFrame, pairs: Sequence[dict[str, Any]], times: bool = True
) -> str:
    """Differences of two arms, paired by seed, with 95 % confidence intervals.

    Args:
        runs: Runs of :func:`load_runs`.
        pairs: Dicts with ``arm`` and ``minus``, with ``epochs`` and ``minus_epochs`` where an arm
            has runs of several lengths; with ``since`` for the difference of the k-NN accuracies
            that both have gained after that epoch; with ``methods``, by default all.
        times: Whether to show the ratio of times: those of different machines cannot be compared.

    Raises:
        StudyError: If there are no such runs, or none that were evaluated after epoch ``since``.
    """
    cells, (clock, clock_name, notes) = by_cell(runs), _clock(runs, times)
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    header = ['method', 'difference', 'seeds', 'k-NN points', 'linear points']
    rows = [[*header, clock_name] if times else header]
    for name in (name for pair in pairs for name in pair.get('methods', [])):
        expect(name in methods, f'pairs: there are no runs of method {name!r}.')
    chosen = [(m, pair) for m in methods for pair in pairs if m in pair.get('methods', methods)]
    for method, pair in chosen:
        since = pair.get('since')
        both = [
            _choose(cells, method, pair, 'arm', 'epochs'),
            _choose(cells, method, pair, 'minus', 'minus_epochs'),
        ]
        lacking = [_title(cells, cell) for cell in both if cell not in cells]
        if lacking:
            notes.append(f'{method} has no runs of {" and ".join(lacking)}.')
            continue
        title = ' - '.join(_title(cells, cell) for cell in both)
        title += '' if since is None else f', gained after epoch {since}'
        first, second = (cells[cell] for cell in both)
        knn, unpaired = paired_difference(_gained(first, since), _gained(second, since))
        linear, _ = paired_difference(first['linear'], second['linear'])
        if unpaired:
            seeds = ', '.join(map(str, unpaired))
            notes.append(f'{method}, {title}: without seeds that one of both lacks, {seeds}.')
        if since is None:
            notes += _without_linear(f'{method}, {title}', first, second)
        else:
            # The linear accuracy is only known at the end.
            linear = linear[:0]
        row = [method, title, len(knn), _signed(knn), _signed(linear)]
        rows.append([*row, _ratio(first[clock], second[clock])] if times else row)
    return _table(rows, notes)


def tuning_table(runs: pd.DataFrame) -> str:
    """The settings of each method by mean k-NN accuracy; the best one is chosen."""
    rows = [['method', 'setting', 'epochs', 'seeds', 'k-NN %', 'linear %', 'chosen']]
    notes = []
    for method in runs['method'].unique():
        cells = by_cell(runs[runs['method'] == method])
        chosen = 'yes'
        for cell in sorted(cells, key=lambda cell: -cells[cell]['knn'].mean()):
            means = [mean_text(cells[cell][name]) for name in ('knn', 'linear')]
            rows.append([*cell, len(cells[cell]), *means, chosen])
            chosen = ''
        if len({frozenset(found.index) for found in cells.values()}) > 1:
            notes.append(f'{method}: the settings were not run with the same seeds.')
        if len({epochs for _, _, epochs in cells}) > 1:
            notes.append(f'{method}: the settings were not run for the same number of epochs.')
    return _table(rows, notes)


def selection_table(runs: pd.DataFrame, quantity: str = 'iou') -> str:
    """How kept views differ from all, over the seeds, in three epochs with selection.

    Args:
        runs: Runs of :func:`load_runs`. Those without selection are left out.
        quantity: One of :data:`SELECTED_QUANTITIES`.
    """
    of_all = f'{SELECTED_QUANTITIES[quantity]} of all'
    gaps = ['kept minus all, first', 'middle', 'last']
    rows = [['method', 'arm', 'epochs', 'seeds', of_all, *gaps, 'in epochs']]
    kept, every = f'{quantity}_kept', f'{quantity}_all'
    for cell, found in by_cell(runs[runs['selection'].notna()]).items():
        points = over_epochs(found, 'selection').reindex(columns=['epoch', 'iou_gap', kept, every])
        # The logged gap of the IoU has more digits than the difference of rounded numbers.
        points['gap'] = points['iou_gap'] if quantity == 'iou' else points[kept] - points[every]
        counts = points['epoch'].value_counts().sort_index()
        # Selection may begin late.
        epochs = [int(epoch) for epoch in counts.index[counts == len(found)]]
        if epochs:
            shown = [epochs[0], epochs[(len(epochs) - 1) // 2], epochs[-1]]
            signed = [_signed(points.loc[points['epoch'] == n, 'gap'].dropna(), 4) for n in shown]
            mean = points.loc[points['epoch'] == shown[-1], every].mean()
            all_text = '-' if pd.isna(mean) else f'{mean:.3f}'
            rows.append([*cell, len(found), all_text, *signed, ', '.join(map(str, shown))])
    return _table(rows)


def provenance_table(runs: pd.DataFrame, command: str | None = None) -> str:
    """Versions, machines and times of the runs, and the command that made them."""
    records = runs['record']

    def told(value: Callable[[dict[str, Any]], Any]) -> str:
        counts = records.map(lambda record: str(value(record))).value_counts().sort_index()
        shown = [f'{name} ({number} runs)' for name, number in counts.items()]
        return ', '.join(shown) if len(shown) > 1 else counts.index[0]

    versions = records.map(lambda record: record.get('versions') or {})
    names = dict.fromkeys(name for found in versions for name in found)
    started = sorted(records.map(lambda record: str(record.get('started'))))
    starts = records.map(lambda record: len(starts_of(record)))
    unknown = f', and {sum(starts == 0)} do not tell' if any(starts == 0) else ''
    rows = [['', ''], ['runs', len(runs)], ['command', command], ['revision', told(_revision)]]
    for name in names:
        rows.append([name, told(lambda r, name=name: (r.get('versions') or {}).get(name, '-'))])
    rows += [
        ['device', told(lambda record: record.get('device'))],
        ['threads of a run', told(lambda record: record.get('threads'))],
        ['runs at a time', told(lambda record: record.get('jobs'))],
        ['started, UTC', f'{started[0]} to {started[-1]}'],
        ['went on after a stop', f'{sum(starts > 1)} runs{unknown}'],
        ['training, hours', f'{runs["seconds"].sum() / 3600:.1f}'],
    ]
    if runs['cpu_seconds'].notna().all():
        rows.append(['CPU time of it, hours', f'{runs["cpu_seconds"].sum() / 3600:.1f}'])
    return _table([row for row in rows if row[1] is not None])


def _clock(runs: pd.DataFrame, times: bool) -> tuple[str, str, list[str]]:
    """Column of times, its name, and notes why times may mislead; no notes without times.

    It is the CPU time where all runs have it, and that of the wall clock otherwise.
    """
    devices = sorted(set(runs['record'].map(lambda record: str(record.get('device')))))
    starts = [start for record in runs['record'] for start in starts_of(record)]
    machines = {str(start['machine']) for start in starts if start.get('machine')}
    notes = []
    if len(devices) > 1:
        notes = [f'times are of several devices, {", ".join(devices)}.']
    elif len(machines) > 1:
        notes = [f'times are of {len(machines)} machines, or of one that was started again.']
    has_cpu = runs['cpu_seconds'].notna().all()
    column, name = ('cpu_seconds', 'CPU time') if has_cpu else ('seconds', 'time')
    return column, name, notes if times else []


def _ratio(first: pd.Series, second: pd.Series) -> str:
    """Time of some runs over that of others, of the seeds that both have, and its range."""
    both = pd.concat([first, second[second != 0]], axis=1, join='inner', keys=['a', 'b']).dropna()
    if both.empty:
        return '-'
    ratio, each = both['a'].sum() / both['b'].sum(), both['a'] / both['b']
    low, high = f'{each.min():.2f}', f'{each.max():.2f}'
    return f'{ratio:.2f}' if low == high else f'{ratio:.2f} ({low} to {high})'


def _choose(
    cells: dict[Cell, Any], method: str, pair: dict[str, Any], name: str, length: str
) -> Cell:
    arm, epochs = pair[name], pair.get(length)
    lengths = sorted({cell[2] for cell in cells if cell[1] == arm})
    expect(lengths, f'{name}={arm!r}: there are no runs of this arm.')
    several = f'{name}={arm!r} has runs of {lengths} epochs: choose with {length}.'
    expect(epochs is not None or len(lengths) == 1, several)
    return method, arm, lengths[0] if epochs is None else epochs


def _gained(found: pd.DataFrame, since: int | None) -> pd.Series:
    """k-NN accuracies, or what they have gained after an epoch."""
    if since is None:
        return found['knn']
    before = knn_after(found, since)
    for record in found['record'][before.isna()]:
        known = record['curve']['epoch']
        text = f'since={since}: run {record["run"]} has k-NN accuracies after epochs {known}.'
        raise StudyError(text)
    return found['knn'] - before


def _without_linear(title: str, *arms: pd.DataFrame) -> list[str]:
    """A note on seeds that all arms have, but not all with a linear accuracy that others have."""
    lacks = pd.concat([found['linear'] for found in arms], axis=1, join='inner').isna().any(axis=1)
    seeds = ', '.join(map(str, sorted(lacks.index[lacks])))
    return [f'{title}: linear without seeds {seeds}.'] if lacks.any() and not lacks.all() else []


def _title(cells: dict[Cell, Any], cell: Cell) -> str:
    lengths = {epochs for _, _, epochs in cells}
    return cell[1] if len(lengths) == 1 else f'{cell[1]} ({cell[2]} epochs)'


def mean_text(values: pd.Series, digits: int = 2) -> str:
    values = values.dropna()
    error = '' if len(values) < 2 else f' ± {values.sem():.{digits}f}'
    return '-' if values.empty else f'{values.mean():.{digits}f}{error}'


def _signed(values: pd.Series, digits: int = 2) -> str:
    if values.empty:
        return '-'
    mean, half = interval(values)
    low, high = f'{mean - half:+.{digits}f}', f'{mean + half:+.{digits}f}'
    return f'{mean:+.{digits}f} ({"-" if len(values) == 1 else f"{low} to {high}"})'


def _revision(record: dict[str, Any]) -> str:
    revision = record.get('revision')
    if revision is None:
        return 'no git checkout'
    # Those of all processes that the run had, without repetitions.
    earlier = [start.get('revision') for start in starts_of(record)[:-1]]
    revisions = dict.fromkeys(str(name)[:10] for name in [*earlier, revision])
    return f'{" then ".join(revisions)}{" with changes" if record.get("dirty") else ""}'


def _table(rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()) -> str:
    """A table whose first two columns are text, with notes below."""
    table = markdown_rows([[printable(cell) for cell in row] for row in rows], text=2)
    return table + ''.join(f'\nNote: {printable(note)}\n' for note in notes)
