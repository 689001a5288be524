"""The HTML report: one file that shows what was selected in a run, or in several to compare."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from ..utils.printable import printable
from .comparison import make_rows, table_cells
from .run import Run
from .selection_plots import draw_selection_plots
from .selection_series import Period, selection_series

#: Panels of a run that are shown: the first, the last and one in the middle.
_MAX_PANELS = 3
_DPI = 180
#: First bytes of a PNG file.
_PNG = b'\x89PNG\r\n\x1a\n'


def selection_html(runs: Sequence[Run], k: int = 20) -> str:
    """The report on the selection of some runs; it needs no other file and no network.

    Args:
        runs: Work dirs of runs with ``SelectionStatsHook``, read.
        k: Neighbors of the k-NN accuracy in the table.

    Raises:
        ValueError: If none of them has logged anything of its selection.
    """
    series = {run.name: selection_series(run) for run in runs}
    if not any(series.values()):
        raise ValueError(
            f'{", ".join(str(run.path) for run in runs)}: nothing was logged of what is selected. '
            "Train with default_hooks = dict(selection=dict(type='SelectionStatsHook')), as the "
            'configs/hvs_*.py do.'
        )
    rows, notes = make_rows(runs, k)
    empty = [name for name, periods in series.items() if not periods]
    notes += [f'{name}: nothing was logged of what is selected.' for name in empty]
    by_epoch = all(run.config.by_epoch for run in runs)
    plots = draw_selection_plots(series, by_epoch)
    environment = Environment(
        loader=PackageLoader('hvs_mm.reports', ''), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template('selection_report.html.j2').render(
        title='What is selected: ' + ', '.join(run.name for run in runs),
        runs=table_cells(rows, k),
        notes=notes,
        by_epoch=by_epoch,
        selected=_selected(series, 'epoch' if by_epoch else 'iteration'),
        plots={title: _figure_source(figure) for title, figure in plots.items()},
        panels={title: source for run in runs for title, source in _panels(run).items()},
        configs=[_config(run) for run in runs if run.config_file is not None],
    )


def _selected(series: Mapping[str, Sequence[Period]], unit: str) -> list[list[str]]:
    """Header and lines of the table of what was selected in the last period of each run."""
    lines = []
    for name, periods in series.items():
        if not periods:
            continue
        last = periods[-1]
        means = last.means
        line = {
            'run': name,
            unit: str(last.position),
            'images': str(last.images),
            'IoU kept': _number(means.get('iou_kept')),
            'IoU all': _number(means.get('iou_all')),
            'difference': _with_error(means.get('iou_gap'), last.gap_error('iou')),
            'lowest IoU kept': _share(means.get('lowest_iou'), last.share_interval('lowest_iou')),
            'by chance': _share(means.get('lowest_iou_chance')),
            'score above mean': _with_error(means.get('score_gap'), last.gap_error('score')),
            'entropy': _number(means.get('choice_entropy')),
            'not finite': _share(means.get('nonfinite')),
        }
        lines.append(list(line.values()))
    return [list(line), *lines]


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _with_error(value: float | None, error: float | None) -> str:
    if value is None or error is None:
        return _number(value)
    return f'{value:+.3f} [{value - error:+.3f}, {value + error:+.3f}]'


def _share(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return '-'
    return f'{value:.1%}' + (f' [{interval[0]:.1%}, {interval[1]:.1%}]' if interval else '')


def _panels(run: Run) -> dict[str, str]:
    """Pictures that ``SelectionPanelHook`` wrote, ``selection/epoch_<n>.png``, by title."""
    unit, word = ('epoch', 'epoch') if run.config.by_epoch else ('iter', 'iteration')
    named = re.compile(rf'{unit}_([0-9]{{1,15}})\.png')
    found = {
        int(match[1]): path
        for path in sorted((run.path / 'selection').glob(f'{unit}_*.png'))
        if (match := named.fullmatch(path.name)) and _is_png(path)
    }
    numbers = sorted(found)
    if len(numbers) > _MAX_PANELS:
        numbers = [numbers[0], numbers[len(numbers) // 2], numbers[-1]]
    panels = {}
    for number in numbers:
        when = f'after {word} {number}' if number else 'before training'
        panels[f'{run.name}, {when}'] = _source(found[number].read_bytes())
    return panels


def _is_png(path: Path) -> bool:
    # Readers pass the page on: a link to another file must not get into it.
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(len(_PNG)) == _PNG


def _config(run: Run) -> tuple[str, str]:
    text = run.config_file.read_text(encoding='utf-8', errors='replace')
    return f'{run.name}: {printable(run.config_file.name)}', text


def _figure_source(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, dpi=_DPI, format='png')
    return _source(file.getvalue())


def _source(png: bytes) -> str:
    return 'data:image/png;base64,' + b64encode(png).decode('ascii')
