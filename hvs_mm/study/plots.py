"""Plots of a study: means over seeds, one panel for each method."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..reports.curves import literally, look
from .estimates import estimate
from .results import Result, by_cell

#: Inches.
_PANEL, _HEIGHT, _LEFT, _GAP, _BOTTOM, _TOP, _LINE = 3.0, 2.6, 0.85, 0.7, 0.55, 0.35, 0.24
_LEGEND_COLUMNS = 3

#: Of a run, by epoch: where on the x axis it stood and what it had come to; ``None`` where nothing
#: was measured.
_Points = dict[int, tuple[float | None, float | None]]
_ACCURACY = 'k-NN accuracy (%)'


def draw_accuracy_over_epochs(results: Sequence[Result]) -> str:
    """k-NN accuracy over the epochs, as an SVG: means over seeds with standard errors."""
    return _draw(results, lambda r: _points(r.curve, 'epoch', 'knn'), 'epoch', _ACCURACY)


def draw_accuracy_over_time(results: Sequence[Result], clock: str = 'cpu') -> str:
    """k-NN accuracy over the time that training took, as an SVG.

    Args:
        results: Of a study.
        clock: ``'cpu'``, seconds of the processes, or ``'wall'``.

    Raises:
        ValueError: If there are runs without CPU time.
    """
    name = 'cpu_seconds' if clock == 'cpu' else 'seconds'
    if clock == 'cpu' and any(result.cpu_seconds is None for result in results):
        raise ValueError("there are runs without CPU time: set clock='wall'.")
    label = 'CPU time of training (s)' if clock == 'cpu' else 'time of training (s)'
    return _draw(results, lambda r: _points(r.curve, name, 'knn'), label, _ACCURACY)


def draw_iou_over_epochs(results: Sequence[Result]) -> str:
    """IoU of kept crops minus that of all over the epochs, as an SVG."""
    return _draw(results, _gaps, 'epoch', 'IoU, kept minus all')


def _gaps(result: Result) -> _Points:
    # Without selection, and without two target views, there are none.
    has_gaps = result.selection and 'iou_gap' in result.selection
    return _points(result.selection, 'epoch', 'iou_gap') if has_gaps else {}


def _points(values: dict[str, list[float | None]], across: str, up: str) -> _Points:
    return dict(zip(values['epoch'], zip(values[across], values[up])))


def _draw(
    results: Sequence[Result], points: Callable[[Result], _Points], below: str, beside: str
) -> str:
    with _same_everywhere():
        cells = by_cell(results)
        lines = list(dict.fromkeys((arm, epochs) for _, arm, epochs in cells))
        # An arm looks the same in all plots of the same runs.
        looks = {line: look(position) for position, line in enumerate(lines)}
        cells = {cell: found for cell, found in cells.items() if any(map(points, found))}
        methods = list(dict.fromkeys(method for method, _, _ in cells))
        lines = list(dict.fromkeys((arm, epochs) for _, arm, epochs in cells))
        lengths = {epochs for _, epochs in lines}
        titles = {
            (arm, epochs): arm if len(lengths) == 1 else f'{arm}, {epochs} epochs'
            for arm, epochs in lines
        }
        # Of a layout that is computed from texts every version of a font makes another one.
        width = _LEFT + max(len(methods), 1) * (_PANEL + _GAP)
        rows = -(-len(lines) // _LEGEND_COLUMNS)
        bottom = _BOTTOM + rows * _LINE
        height = bottom + _HEIGHT + _TOP
        figure = Figure(figsize=(width, height))
        for number, method in enumerate(methods):
            left = _LEFT + number * (_PANEL + _GAP)
            axes = figure.add_axes(
                (left / width, bottom / height, _PANEL / width, _HEIGHT / height)
            )
            axes.set_title(method, fontsize=10, parse_math=False)
            axes.set_xlabel(below)
            if number == 0:
                axes.set_ylabel(beside)
            if below == 'epoch':
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(color='0.92')
            axes.set_axisbelow(True)
            axes.spines[['top', 'right']].set_visible(False)
            for (name, arm, epochs), found in cells.items():
                if name == method:
                    _line(axes, [points(r) for r in found], looks[arm, epochs], titles[arm, epochs])
        handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
        if handles:
            literally(
                figure.legend(
                    list(handles.values()),
                    list(handles),
                    loc='lower left',
                    bbox_to_anchor=(0.1 / width, 0.02),
                    ncols=_LEGEND_COLUMNS,
                    fontsize=8,
                    frameon=False,
                )
            )
        text = StringIO()
        figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
    # Spaces before the ends of lines say nothing.
    return '\n'.join(map(str.rstrip, _with_plain_ids(text.getvalue()).splitlines())) + '\n'


def _with_plain_ids(svg: str) -> str:
    """Number what matplotlib names by hashes, of a salt and of how NumPy writes its numbers."""
    names = dict.fromkeys(re.findall(r'\bid="([a-z][0-9a-f]{10})"', svg))
    for number, name in enumerate(names):
        svg = svg.replace(f'"{name}"', f'"id{number}"').replace(f'#{name}', f'#id{number}')
    return svg


def _line(axes: Axes, runs: Sequence[_Points], style: dict[str, str], label: str) -> None:
    """The mean over runs and a band of its standard error, where all of them have points."""
    across, values, errors = [], [], []
    for epoch in runs[0]:
        place = [run.get(epoch, (None, None)) for run in runs]
        if any(None in point for point in place):
            continue
        found = estimate([y for _, y in place])
        across.append(estimate([x for x, _ in place]).mean)
        values.append(found.mean)
        errors.append(found.error or 0.0)
    axes.plot(
        across,
        values,
        color=style['color'],
        marker=style['marker'],
        linestyle=style['linestyle'],
        markersize=3.5,
        linewidth=1.5,
        label=label,
    )
    axes.fill_between(
        across,
        [value - error for value, error in zip(values, errors)],
        [value + error for value, error in zip(values, errors)],
        color=style['color'],
        alpha=0.15,
        linewidth=0,
    )


@contextmanager
def _same_everywhere() -> Iterator[None]:
    """Draw the same bytes each time, whatever a user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams['svg.fonttype'] = 'none'
        yield
