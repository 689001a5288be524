"""Plots of a study: means over seeds, one panel for each method."""

from __future__ import annotations

import re
from io import StringIO

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hvs_mm.reports.curves import literally, look, style_axes

from .frames import CELL, over_epochs

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


def _draw(runs: pd.DataFrame, column: str, x: str, y: str, x_label: str, y_label: str) -> str:
    sizes = runs.groupby(CELL, observed=True).size()
    # An arm looks the same in all plots of the same runs.
    looks = {
        line: look(n) for n, line in enumerate(dict.fromkeys(cell[1:] for cell in sizes.index))
    }
    points = over_epochs(runs, column)
    points = points.reindex(columns=dict.fromkeys([*CELL, 'epoch', x, y]))
    points = points.assign(x=points[x], y=points[y]).dropna(subset=['x', 'y'])
    means = points.groupby([*CELL, 'epoch'], observed=True).agg(
        x=('x', 'mean'), y=('y', 'mean'), error=('y', 'sem'), seeds=('y', 'size')
    )
    cells = dict(iter(means.groupby(CELL, observed=True)))
    methods = list(dict.fromkeys(method for method, _, _ in cells))
    lines = list(dict.fromkeys(cell[1:] for cell in cells))
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
            if x == 'epoch':
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            for (name, arm, epochs), mean in cells.items():
                if name == method:
                    label = f'{arm}, {epochs} epochs' if has_lengths else arm
                    # Epochs that all runs have.
                    shown = mean[mean['seeds'] == sizes[name, arm, epochs]].fillna({'error': 0})
                    _draw_line(axes, shown, looks[arm, epochs], label)
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
        text = StringIO()
        figure.savefig(text, format='svg', metadata={'Date': None, 'Creator': None})
    return _with_plain_ids(re.sub(r'[ \t]+$', '', text.getvalue(), flags=re.MULTILINE))


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
