"""The HTML report: one file on what was selected in some runs, and on their health."""

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
from .health_plots import draw_health_plots
from .run import Run
from .selection_plots import draw_selection_plots
from .selection_series import Period, selection_series

#: Panels of a run that are shown: the first, the last and one in the middle.
_MAX_PANELS = 3
_DPI = 180
#: The table of what was selected: statistics by their titles, and how they are written.
_COLUMNS = {
    'IoU kept': ('iou_kept', '.3f'),
    'IoU all': ('iou_all', '.3f'),
    'difference': ('iou_gap', '+.3f'),
    'lowest IoU kept': ('lowest_iou', '.1%'),
    'by chance': ('lowest_iou_chance', '.1%'),
    'score above mean': ('score_gap', '+.3f'),
    'hardness': ('hardness', '.3f'),
    'entropy': ('choice_entropy', '.3f'),
    'not finite': ('nonfinite', '.1%'),
}
#: First bytes of a PNG file.
_PNG = b'\x89PNG\r\n\x1a\n'


def selection_html(runs: Sequence[Run], k: int = 20) -> str:
    """The report on selection and health of some runs; it needs no other file and no network.

    The table of the runs has the k-NN accuracy for ``k`` neighbors.

    Raises:
        ValueError: If none of them has logged anything of its selection or health.
    """
    series = {run.name: selection_series(run) for run in runs}
    health = draw_health_plots(runs)
    if not any(series.values()) and not health:
        raise ValueError(
            f'{", ".join(str(run.path) for run in runs)}: nothing was logged of what is selected. '
            "Train with default_hooks = dict(selection=dict(type='SelectionStatsHook')), as the "
            'configs/hvs_*.py do.'
        )
    rows, notes = make_rows(runs, k)
    empty = [name for name, periods in series.items() if not periods]
    # The sections on the selection are left out if no run has any.
    empty = empty if len(empty) < len(runs) else []
    notes += [f'{name}: nothing was logged of what is selected.' for name in empty]
    by_epoch = all(run.config.by_epoch for run in runs)
    plots = draw_selection_plots(series, by_epoch)
    environment = Environment(
        loader=PackageLoader('hvs_mm.reports', ''), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template('selection_report.html.j2').render(
        title=('What is selected: ' if any(series.values()) else 'Training of ')
        + ', '.join(run.name for run in runs),
        runs=table_cells(rows),
        notes=notes,
        by_epoch=by_epoch,
        selected=_selected(series, 'epoch' if by_epoch else 'iteration'),
        plots={title: _source(_png(figure)) for title, figure in plots.items()},
        health={title: _source(_png(figure)) for title, figure in health.items()},
        panels={title: source for run in runs for title, source in _panels(run).items()},
        configs=[_config(run.name, run.config_file) for run in runs if run.config_file is not None],
    )


def _selected(series: Mapping[str, Sequence[Period]], unit: str) -> list[list[str]]:
    """Header and lines of the table of what was selected in the last period of each run."""
    table = [['run', unit, 'images', *_COLUMNS]]
    for name, periods in series.items():
        if periods:
            cells = (_cell(periods[-1], key, form) for key, form in _COLUMNS.values())
            table.append([name, str(periods[-1].position), str(periods[-1].images), *cells])
    return table


def _cell(period: Period, key: str, form: str) -> str:
    """The mean of a statistic, with its confidence interval if there is one."""
    if key not in period.means:
        return '-'
    interval = period.interval(key)
    ends = f' [{interval[0]:{form}}, {interval[1]:{form}}]' if interval else ''
    return format(period.means[key], form) + ends


def _panels(run: Run) -> dict[str, str]:
    """Pictures that ``SelectionPanelHook`` wrote, ``selection/epoch_<n>.png``, by title."""
    unit, word = ('epoch', 'epoch') if run.config.by_epoch else ('iter', 'iteration')
    found = sorted(
        (int(match[1]), path)
        for path in (run.path / 'selection').glob('*.png')
        if (match := re.fullmatch(rf'{unit}_([0-9]{{1,15}})\.png', path.name)) and _is_png(path)
    )
    if len(found) > _MAX_PANELS:
        found = [found[0], found[len(found) // 2], found[-1]]
    panels = {}
    for done, path in found:
        when = f'after {word} {done}' if done else 'before training'
        panels[f'{run.name}, {when}'] = _source(path.read_bytes())
    return panels


def _is_png(path: Path) -> bool:
    # Readers pass the page on: a link to another file must not get into it.
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(len(_PNG)) == _PNG


def _config(name: str, path: Path) -> tuple[str, str]:
    text = path.read_text(encoding='utf-8', errors='replace')
    return f'{name}: {printable(path.name)}', text


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, dpi=_DPI, format='png')
    return file.getvalue()


def _source(png: bytes) -> str:
    return 'data:image/png;base64,' + b64encode(png).decode('ascii')
