"""Tables of a study, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pandas as pd
from scipy import stats

from hvs_mm.reports import markdown_rows, printable

from .frames import CELL, knn_after, over_epochs, transfer_columns
from .schema import StudyError, expect

#: Level of all intervals.
LEVEL = 0.95
#: Statistics that ``SelectionStatsHook`` logs of kept views and of all, and their names in a table.
SELECTED_QUANTITIES = {
    'iou': 'IoU',
    'local_iou': 'IoU with local crops',
    'center_distance': 'distance of centers',
    'color': 'color jitter',
    'masked': 'masked share',
}


def accuracy_table(runs: pd.DataFrame, times: bool = True) -> str:
    """Means and standard errors of accuracies and times, by method, arm and length.

    The k-NN accuracy before training shows what features have by their architecture. The arm
    ``baseline`` has time 1, in runs of the same method, length and seeds. ``times=False`` leaves
    out times, since those of different machines cannot be compared.
    """
    clock, clock_name, notes = _clock(runs)
    columns = {'untrained': 'untrained k-NN %', 'knn': 'k-NN %', 'linear': 'linear %'}
    columns |= {name: f'linear on {title} %' for name, title in transfer_columns(runs).items()}
    table = _means(runs.assign(untrained=knn_after(runs, 0)), columns)
    if times:
        baselines = runs.loc[runs['arm'] == 'baseline', ['method', 'epochs', 'seed', clock]]
        both = runs[[*CELL, 'seed', clock]].merge(baselines, 'left', ['method', 'epochs', 'seed'])
        seconds = runs.groupby(CELL, observed=True)['seconds']
        table['training s'] = seconds.agg(mean_text, digits=1)
        clocks = both.groupby(CELL, observed=True)[[f'{clock}_x', f'{clock}_y']]
        table[clock_name] = clocks.apply(_ratio)
    return markdown_table(table.reset_index(), [*(notes if times else []), *lacking_seeds(runs)])


def differences_table(
    runs: pd.DataFrame, pairs: Sequence[dict[str, Any]], times: bool = True
) -> str:
    """Differences of two arms, paired by seed, with 95 % confidence intervals and ratios of times.

    Pairs have ``arm`` and ``minus``; ``epochs`` and ``minus_epochs`` where an arm has runs of
    several lengths; ``since`` for the difference of the k-NN accuracies that both have gained after
    that epoch; and ``methods``, by default all.

    Raises:
        StudyError: If there are no such runs, or none that were evaluated after epoch ``since``.
    """
    clock, clock_name, notes = _clock(runs)
    notes = [*(notes if times else []), *lacking_seeds(runs)]
    columns = ['method', 'difference', 'seeds', 'k-NN points', 'linear points']
    transfer = transfer_columns(runs)
    columns += [f'linear points on {title}' for title in transfer.values()]
    table = pd.DataFrame(columns=[*columns, clock_name] if times else columns)
    for method, title, pair, first, second in compared(runs, pairs, notes):
        since = pair.get('since')
        knn, unpaired = paired_difference(_gained(first, since), _gained(second, since))
        linear = [paired_difference(first[n], second[n])[0] for n in ('linear', *transfer)]
        if since is not None:
            title += f', gained after epoch {since}'
            # The linear accuracy is only known at the end.
            linear = [one[:0] for one in linear]
        if unpaired:
            seeds = ', '.join(map(str, unpaired))
            notes.append(f'{method}, {title}: without seeds that one of both lacks, {seeds}.')
        row = [method, title, len(knn), *map(signed_text, (knn, *linear))]
        clocks = pd.concat([first[clock], second[clock]], axis=1, join='inner')
        table.loc[len(table)] = [*row, _ratio(clocks)] if times else row
    return markdown_table(table, notes)


def compared(
    runs: pd.DataFrame, pairs: Sequence[dict[str, Any]], notes: list[str]
) -> Iterator[tuple[str, str, dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Method, title, pair, and the runs of both of its sides by seed; adds to ``notes``."""
    cells = dict(iter(runs.set_index('seed').groupby(CELL, observed=True)))
    methods = list(runs['method'].unique())
    for name in (name for pair in pairs for name in pair.get('methods', [])):
        expect(name in methods, f'pairs: there are no runs of method {name!r}.')
    for method, pair in product(methods, pairs):
        if method not in pair.get('methods', methods):
            continue
        sides = [_side(runs, pair, 'arm', 'epochs'), _side(runs, pair, 'minus', 'minus_epochs')]
        titles = [_title(runs, *side) for side in sides]
        lacking = [title for title, side in zip(titles, sides) if (method, *side) not in cells]
        if lacking:
            notes.append(f'{method} has no runs of {" and ".join(lacking)}.')
            continue
        first, second = (cells[(method, *side)] for side in sides)
        yield method, ' - '.join(titles), pair, first, second


def tuning_table(runs: pd.DataFrame) -> str:
    """The settings of each method by mean k-NN accuracy; the best one is chosen."""
    order = -runs.groupby(CELL, observed=True)['knn'].mean().rename('order')
    table = _means(runs, {'knn': 'k-NN %', 'linear': 'linear %'}).join(order)
    table = table.sort_values(['method', 'order']).drop(columns='order').reset_index()
    table['chosen'] = table['method'].duplicated().map({False: 'yes', True: ''})
    notes = []
    for method, found in runs.groupby('method', observed=True):
        if found.groupby(CELL, observed=True)['seed'].agg(frozenset).nunique() > 1:
            notes.append(f'{method}: the settings were not run with the same seeds.')
        if found['epochs'].nunique() > 1:
            notes.append(f'{method}: the settings were not run for the same number of epochs.')
    return markdown_table(table.rename(columns={'arm': 'setting'}), notes)


def selection_table(runs: pd.DataFrame, quantity: str = 'iou') -> str:
    """How kept views differ from all, in three epochs; runs without selection are left out."""
    kept, every = f'{quantity}_kept', f'{quantity}_all'
    points = over_epochs(runs, 'selection')
    points = points.reindex(columns=[*CELL, 'run', 'epoch', 'iou_gap', kept, every])
    # The logged gap of the IoU has more digits than the difference of rounded numbers.
    points['gap'] = points['iou_gap'] if quantity == 'iou' else points[kept] - points[every]
    rows = []
    for cell, found in points.groupby(CELL, observed=True):
        seeds, counts = found['run'].nunique(), found.groupby('epoch').size()
        # Selection may begin late.
        epochs = [int(epoch) for epoch in counts.index[counts == seeds]]
        if epochs:
            shown = [epochs[0], epochs[(len(epochs) - 1) // 2], epochs[-1]]
            gaps = [signed_text(found.loc[found['epoch'] == n, 'gap'].dropna(), 4) for n in shown]
            mean = found.loc[found['epoch'] == shown[-1], every].mean()
            all_text = '-' if pd.isna(mean) else f'{mean:.3f}'
            rows.append([*cell, seeds, all_text, *gaps, ', '.join(map(str, shown))])
    gaps = ['kept minus all, first', 'middle', 'last']
    columns = [*CELL, 'seeds', f'{SELECTED_QUANTITIES[quantity]} of all', *gaps, 'in epochs']
    return markdown_table(pd.DataFrame(rows, columns=columns))


def provenance_table(runs: pd.DataFrame) -> str:
    """Versions, machines and times of the runs."""
    versions = pd.DataFrame([found or {} for found in runs['versions']]).astype(object)
    started, starts = sorted(runs['started'].map(str)), runs['starts'].map(len)
    unknown = f', and {sum(starts == 0)} do not tell' if any(starts == 0) else ''
    rows = {'runs': len(runs), 'revision': _counts(runs.apply(_revision, axis=1))}
    rows |= {name: _counts(versions[name].fillna('-')) for name in versions}
    rows |= {
        'device': _counts(runs['device']),
        'threads of a run': _counts(runs['threads']),
        'runs at a time': _counts(runs['jobs']),
        'started, UTC': f'{started[0]} to {started[-1]}',
        'went on after a stop': f'{sum(starts > 1)} runs{unknown}',
        'training, hours': f'{runs["seconds"].sum() / 3600:.1f}',
    }
    if runs['cpu_seconds'].notna().all():
        rows['CPU time of it, hours'] = f'{runs["cpu_seconds"].sum() / 3600:.1f}'
    return markdown_table(pd.DataFrame(rows.items(), columns=['', '']))


def _means(runs: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Numbers of seeds and means of columns, by cell; titles of columns by their names."""
    cells = runs.groupby(CELL, observed=True)
    means = cells.agg(dict.fromkeys(columns, mean_text)).rename(columns=columns)
    return cells.size().to_frame('seeds').join(means)


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


def mean_text(values: pd.Series, digits: int = 2) -> str:
    """The mean with its standard error."""
    values = values.dropna()
    error = '' if len(values) < 2 else f' ± {values.sem():.{digits}f}'
    return '-' if values.empty else f'{values.mean():.{digits}f}{error}'


def signed_text(values: pd.Series, digits: int = 2) -> str:
    """The mean with its interval."""
    if values.empty:
        return '-'
    mean, half = interval(values)
    low, high = f'{mean - half:+.{digits}f}', f'{mean + half:+.{digits}f}'
    return f'{mean:+.{digits}f} ({"-" if len(values) == 1 else f"{low} to {high}"})'


def _clock(runs: pd.DataFrame) -> tuple[str, str, list[str]]:
    """Column of CPU time, or the wall clock where some lack it; its name; notes on its pitfalls."""
    devices = sorted(runs['device'].map(str).unique())
    machines = {str(s['machine']) for starts in runs['starts'] for s in starts if s.get('machine')}
    notes = []
    if len(devices) > 1:
        notes = [f'times are of several devices, {", ".join(devices)}.']
    elif len(machines) > 1:
        notes = [f'times are of {len(machines)} machines, or of one that was started again.']
    has_cpu = runs['cpu_seconds'].notna().all()
    return *(('cpu_seconds', 'CPU time') if has_cpu else ('seconds', 'time')), notes


def lacking_seeds(runs: pd.DataFrame) -> list[str]:
    """A note on cells with fewer seeds than their study plans."""
    cells = []
    for (method, arm, _), found in runs.groupby(CELL, observed=True):
        planned = pd.to_numeric(found['planned_seeds']).max()
        if planned > len(found):
            cells.append(f'{method} {arm} ({len(found)} of {planned:.0f})')
    return [f'fewer seeds than planned: {", ".join(cells)}.'] if cells else []


def _ratio(times: pd.DataFrame) -> str:
    """Time of some runs over that of others, of the seeds that both have, and its range."""
    times = times[times.iloc[:, 1] != 0].dropna()
    if times.empty:
        return '-'
    (first, second), each = times.sum(), times.iloc[:, 0] / times.iloc[:, 1]
    low, high = f'{each.min():.2f}', f'{each.max():.2f}'
    return f'{first / second:.2f}' + ('' if low == high else f' ({low} to {high})')


def _side(runs: pd.DataFrame, pair: dict[str, Any], name: str, length: str) -> tuple[str, int]:
    """Arm and epochs of one side of a pair."""
    arm = pair[name]
    lengths = sorted(runs.loc[runs['arm'] == arm, 'epochs'].unique().tolist())
    expect(lengths, f'{name}={arm!r}: there are no runs of this arm.')
    several = f'{name}={arm!r} has runs of {lengths} epochs: choose with {length}.'
    expect(length in pair or len(lengths) == 1, several)
    return arm, pair.get(length, lengths[0])


def _title(runs: pd.DataFrame, arm: str, epochs: int) -> str:
    return arm if runs['epochs'].nunique() == 1 else f'{arm} ({epochs} epochs)'


def _gained(runs: pd.DataFrame, since: int | None) -> pd.Series:
    """k-NN accuracies, or what they have gained after an epoch."""
    if since is None:
        return runs['knn']
    before = knn_after(runs, since)
    lacking = runs[before.isna()]
    if len(lacking):
        run, known = lacking['run'].iloc[0], lacking['curve'].iloc[0]['epoch']
        raise StudyError(f'since={since}: run {run} has k-NN accuracies after epochs {known}.')
    return runs['knn'] - before


def _counts(values: pd.Series) -> str:
    counts = values.map(str).value_counts().sort_index()
    shown = [f'{name} ({number} runs)' for name, number in counts.items()]
    return ', '.join(shown) if len(shown) > 1 else counts.index[0]


def _revision(run: pd.Series) -> str:
    if run['revision'] is None:
        return 'no git checkout'
    # Those of all processes that the run had, without repetitions.
    earlier = [start.get('revision') for start in run['starts'][:-1]]
    revisions = dict.fromkeys(str(name)[:10] for name in [*earlier, run['revision']])
    return f'{" then ".join(revisions)}{" with changes" if run["dirty"] else ""}'


def markdown_table(table: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A table whose first two columns are text, with notes below."""
    rows = [list(table.columns), *table.itertuples(index=False)]
    text = markdown_rows([[printable(cell) for cell in row] for row in rows], text=2)
    return text + ''.join(f'\nNote: {printable(note)}\n' for note in notes)
