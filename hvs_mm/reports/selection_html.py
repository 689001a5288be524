"""One HTML file that shows what was selected in a run, or in several to compare."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from ..utils.printable import printable
from .rows import make_rows
from .run import Run
from .selection_plots import draw_selection_plots
from .selection_series import Period, selection_series
from .tables import table_cells

#: Panels of a run that are shown: the first, the last and one in the middle.
_MAX_PANELS = 3
_DPI = 180
#: What files in this format begin with.
_PNG = b'\x89PNG\r\n\x1a\n'


class Picture(NamedTuple):
    """A picture inside of the page.

    Attributes:
        title: What stands above it.
        source: A ``data:`` address with its PNG.
    """

    title: str
    source: str


class ConfigText(NamedTuple):
    """The settings of a run.

    Attributes:
        title: The run and the file.
        text: The file.
    """

    title: str
    text: str


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
    notes += [
        f'{name}: nothing was logged of what is selected.'
        for name, periods in series.items()
        if not periods
    ]
    by_epoch = all(run.config.by_epoch for run in runs)
    environment = Environment(
        loader=PackageLoader('hvs_mm.reports', ''), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template('selection_report.html.j2').render(
        title='What is selected: ' + ', '.join(run.name for run in runs),
        runs=table_cells(rows, k),
        notes=notes,
        by_epoch=by_epoch,
        selected=_selected(
            {name: found[-1] for name, found in series.items() if found},
            'epoch' if by_epoch else 'iteration',
        ),
        plots=[
            Picture(title, _figure_source(figure))
            for title, figure in draw_selection_plots(series, by_epoch).items()
        ],
        panels=[picture for run in runs for picture in _panels(run)],
        configs=[_config(run) for run in runs if run.config_file is not None],
    )


def _selected(last: dict[str, Period], unit: str) -> list[list[str]]:
    """Header and lines of the table of what was selected in the last period of each run."""
    lines = []
    for name, period in last.items():
        means = period.means
        lines.append(
            [
                name,
                str(period.position),
                str(period.images),
                _number(means.get('iou_kept')),
                _number(means.get('iou_all')),
                _with_error(means.get('iou_gap'), period.gap_error('iou')),
                _share(means.get('lowest_iou'), period.share_interval('lowest_iou')),
                _share(means.get('lowest_iou_chance')),
                _with_error(means.get('score_gap'), period.gap_error('score')),
                _number(means.get('choice_entropy')),
                _share(means.get('nonfinite')),
            ]
        )
    header = [
        'run', unit, 'images', 'IoU kept', 'IoU all', 'difference', 'lowest IoU kept', 'by chance',
        'score above mean', 'entropy', 'not finite',
    ]  # fmt: skip
    return [header, *lines]


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _with_error(value: float | None, error: float | None) -> str:
    if value is None or error is None:
        return _number(value)
    return f'{value:+.3f} [{value - error:+.3f}, {value + error:+.3f}]'


def _share(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return '-'
    if interval is None:
        return f'{value:.1%}'
    return f'{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]'


def _panels(run: Run) -> list[Picture]:
    """Pictures that ``SelectionPanelHook`` wrote, ``selection/epoch_<n>.png``."""
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
    return [
        Picture(
            f'{run.name}, after {word} {number}' if number else f'{run.name}, before training',
            _source(found[number].read_bytes()),
        )
        for number in numbers
    ]


def _is_png(path: Path) -> bool:
    # What goes into the page is passed on: a link to another file must not be.
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return file.read(len(_PNG)) == _PNG


def _config(run: Run) -> ConfigText:
    text = run.config_file.read_text(encoding='utf-8', errors='replace')
    return ConfigText(f'{run.name}: {printable(run.config_file.name)}', text)


def _figure_source(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, dpi=_DPI, format='png')
    return _source(file.getvalue())


def _source(png: bytes) -> str:
    return 'data:image/png;base64,' + b64encode(png).decode('ascii')
