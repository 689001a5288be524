"""Plots of a study: means over seeds, one panel for each method."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import StringIO

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hvs_mm.reports.curves import literally, look, style_axes

from .frames import CELL, over_epochs
from .schema import expect

#: Inches. The layout is fixed: one computed from texts would differ between versions of a font.
_PANEL, _HEIGHT, _LEFT, _GAP, _BOTTOM, _TOP, _LINE = 3.0, 2.6, 0.85, 0.7, 0.55, 0.35, 0.24
_LEGEND_COLUMNS = 3
_ACCURACY = 'k-NN accuracy (%)'


def draw_accuracy_over_epochs(runs: pd.DataFrame) -> str:
    """k-NN accuracy over the epochs, as an SVG: means over seeds with standard errors."""
    return _draw(runs, 'curve', 'epoch', 'knn', 'epoch', _ACCURACY)


def draw_accuracy_over_time(runs: pd.DataFrame) -> str:
    """k-NN accuracy over the CPU time of training, as an SVG; without it, over the wall clock."""
    if runs['cpu_seconds'].notna().all():
        return _draw(runs, 'curve', 'cpu_seconds', 'knn', 'CPU time of training (s)', _ACCURACY)
    return _draw(runs, 'curve', 'seconds', 'knn', 'time of training (s)', _ACCURACY)


def draw_iou_over_epochs(runs: pd.DataFrame) -> str:
    """IoU of kept crops minus that of all over the epochs, as an SVG."""
    return _draw(runs, 'selection', 'epoch', 'iou_gap', 'epoch', 'IoU, kept minus all')


def draw_information_over_epochs(runs: pd.DataFrame) -> str:
    """What the student's output says about its image over the epochs, as an SVG.

    See :func:`hvs_mm.evaluation.measure_health`; only runs with ``engine='fast'`` measure it.
    """
    label = "information in the student's output"
    return _draw(runs, 'health', 'epoch', 'student_information', 'epoch', label, 'log')


def draw_accuracy_over_hardness(runs: pd.DataFrame) -> str:
    """Linear accuracy over the mean realized hardness of a training, as an SVG: a point an arm.

    Means over seeds with standard errors. A baseline has hardness 0, as a random choice has.
    """
    logged = over_epochs(runs, 'selection')
    expect('hardness' in logged, 'these lines are of revisions that log no hardness.')
    hardness = logged.groupby('run')['hardness'].mean()
    points = runs.assign(x=hardness).fillna({'x': 0.0}).rename(columns={'linear': 'y'})
    means = points.groupby(CELL, observed=True).agg(
        x=('x', 'mean'), y=('y', 'mean'), error=('y', 'sem')
    )
    cells = {cell: means.loc[[cell]].fillna({'error': 0}) for cell in means.index}
    return _draw_panels(cells, _draw_point, 'realized hardness', 'linear accuracy (%)')


def _draw(
    runs: pd.DataFrame,
    column: str,
    x: str,
    y: str,
    x_label: str,
    y_label: str,
    y_scale: str = 'linear',
) -> str:
    sizes = runs.groupby(CELL, observed=True).size()
    points = over_epochs(runs, column)
    points = points.reindex(columns=dict.fromkeys([*CELL, 'epoch', x, y]))
    points = points.assign(x=points[x], y=points[y]).dropna(subset=['x', 'y'])
    means = points.groupby([*CELL, 'epoch'], observed=True).agg(
        x=('x', 'mean'), y=('y', 'mean'), error=('y', 'sem'), seeds=('y', 'size')
    )
    cells = {
        # Epochs that all runs have.
        cell: mean[mean['seeds'] == sizes[cell]].fillna({'error': 0})
        for cell, mean in means.groupby(CELL, observed=True)
    }
    # An arm looks the same in all plots of the same runs.
    order = dict.fromkeys(cell[1:] for cell in sizes.index)
    return _draw_panels(cells, _draw_line, x_label, y_label, order, y_scale)


def _draw_panels(
    cells: dict[tuple[str, str, int], pd.DataFrame],
    draw: Callable[[Axes, pd.DataFrame, dict[str, str], str], None],
    x_label: str,
    y_label: str,
    order: Iterable[tuple[str, int]] = (),
    y_scale: str = 'linear',
) -> str:
    """An SVG with a panel for each method, into which ``draw`` puts what an arm has.

    Args:
        cells: Columns ``x``, ``y`` and ``error`` by method, arm and epochs.
        draw: Takes a panel, such columns, how the arm looks, and its name.
        x_label: The same for all panels.
        y_label: The same for all panels.
        order: Arms and epochs, which decides how they look.
        y_scale: ``'linear'`` or ``'log'``.
    """
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    lines = list(dict.fromkeys(cell[1:] for cell in cells))
    looks = {line: look(n) for n, line in enumerate(dict.fromkeys([*order, *lines]))}
    has_lengths = len({epochs for _, epochs in lines}) > 1
    width = _LEFT + max(len(methods), 1) * (_PANEL + _GAP)
    bottom = _BOTTOM + -(-len(lines) // _LEGEND_COLUMNS) * _LINE
    height = bottom + _HEIGHT + _TOP
    # The same bytes each time, whatever a user's own settings are.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams['svg.fonttype'] = 'none'
        figure = Figure(figsize=(width, height))
        for number, method in enumerate(methods):
            left = (_LEFT + number * (_PANEL + _GAP)) / width
            axes = figure.add_axes((left, bottom / height, _PANEL / width, _HEIGHT / height))
            axes.set_title(method, fontsize=10, parse_math=False)
            style_axes(axes, x_label, '' if number else y_label, grid='0.92')
            axes.set_yscale(y_scale)
            if x_label == 'epoch':
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            for (name, arm, epochs), mean in cells.items():
                if name == method:
                    label = f'{arm}, {epochs} epochs' if has_lengths else arm
                    draw(axes, mean, looks[arm, epochs], label)
        _add_legend(figure, width)
        text = StringIO()
        figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
    return _with_plain_ids(re.sub(r'[ \t]+$', '', text.getvalue(), flags=re.MULTILINE))


def _add_legend(figure: Figure, width: float) -> None:
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    if handles:
        legend = figure.legend(
            list(handles.values()),
            list(handles),
            loc='lower left',
            bbox_to_anchor=(0.1 / width, 0.02),
            ncols=_LEGEND_COLUMNS,
            fontsize=8,
            frameon=False,
        )
        literally(legend)


def _draw_point(axes: Axes, mean: pd.DataFrame, style: dict[str, str], label: str) -> None:
    """The mean over seeds with a bar of its standard error."""
    x, y, error = mean['x'], mean['y'], mean['error']
    axes.vlines(x, y - error, y + error, color=style['color'], linewidth=1)
    axes.plot(x, y, markersize=6, label=label, **{**style, 'linestyle': 'none'})


def _draw_line(axes: Axes, mean: pd.DataFrame, style: dict[str, str], label: str) -> None:
    """The mean over seeds and a band of its standard error."""
    x, y, error = mean['x'], mean['y'], mean['error']
    axes.plot(x, y, markersize=3.5, linewidth=1.5, label=label, **style)
    axes.fill_between(x, y - error, y + error, color=style['color'], alpha=0.15, linewidth=0)


def _with_plain_ids(svg: str) -> str:
    """Number what matplotlib names by hashes, of a salt and of how NumPy writes its numbers."""
    names = dict.fromkeys(re.findall(r'\bid="([a-z][0-9a-f]{10})"', svg))
    for number, name in enumerate(names):
        svg = svg.replace(f'"{name}"', f'"id{number}"').replace(f'#{name}', f'#id{number}')
    return svg
