"""Plots of what was selected over a run, or over several to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .curves import literally, look, style_axes
from .selection_series import Period

#: Small enough to be read on a phone, where it is as wide as the screen.
_SIZE = (4.6, 3.1)
_SHARES = 'share of images'
Series = Mapping[str, Sequence[Period]]


def draw_selection_plots(series: Series, by_epoch: bool = True) -> dict[str, Figure]:
    """All plots for which there are numbers, by title.

    Args:
        series: The statistics of each run by its name.
        by_epoch: Whether positions are epochs.
    """
    # matplotlib leaves names that begin with an underscore out of a legend.
    shown = {f' {name}' if name.startswith('_') else name: found for name, found in series.items()}
    figures = {}
    for title, needed, draw in _PLOTS:
        logged = {
            name: [period for period in periods if _has(period, needed)]
            for name, periods in shown.items()
        }
        logged = {name: periods for name, periods in logged.items() if periods}
        if logged:
            title = title.format(when='in the last epoch' if by_epoch else 'at the end')
            figures[title] = draw(logged)
            for axes in figures[title].axes:
                if axes.get_xlabel() == 'epoch' and not by_epoch:
                    axes.set_xlabel('iteration')
    return figures


def _has(period: Period, key: str) -> bool:
    """Whether a statistic was logged; of colors, whether views differed in them."""
    is_alike = 'color' in key and period.means.get('strongest_color_chance') == 1
    return key in period.means and not is_alike


def _draw_lines(label: str, series: Series, **endings: str) -> Figure:
    """Statistics over the run, each with what follows the name of the run in the legend."""
    figure, axes = _new(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for position, (name, periods) in enumerate(series.items()):
        for key, ending in endings.items():
            _line(axes, position, periods, key, name + ending)
    if 'score_gap' in endings:
        axes.axhline(0, color='0.6', linewidth=0.8, zorder=0)
    if 'choice_entropy' in endings:
        axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.005)
    if label == _SHARES:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finish(figure)


def _line(axes: Axes, position: int, periods: Sequence[Period], key: str, label: str) -> None:
    """One statistic of one run, with its 95 % confidence band; nothing if it was not logged."""
    if not all(key in period.means for period in periods):
        return
    x = [period.position for period in periods]
    is_reference = key.endswith(('_all', '_chance'))
    style = look(position)
    axes.plot(
        x,
        [period.means[key] for period in periods],
        color=style['color'],
        # A run of a single epoch has no line.
        marker=None if len(periods) > 1 else style['marker'],
        markerfacecolor='none' if is_reference else style['color'],
        linestyle=':' if is_reference else '-',
        linewidth=1.4 if is_reference else 1.8,
        label=label,
    )
    bands = [_band(period, key) for period in periods]
    if None not in bands:
        axes.fill_between(x, *zip(*bands), color=style['color'], alpha=0.18, linewidth=0)


def _band(period: Period, key: str) -> tuple[float, float] | None:
    if key in ('iou_kept', 'score_gap'):
        error = period.gap_error(key.partition('_')[0]) or 0.0
        return period.means[key] - error, period.means[key] + error
    return period.share_interval(key) if key in ('lowest_iou', 'strongest_color') else None


def _draw_histogram(series: Series) -> Figure:
    figure, axes = _new('share of pairs', 'IoU')
    edges = np.linspace(0, 1, 11)
    for position, (name, periods) in enumerate(series.items()):
        means, color = periods[-1].means, look(position)['color']
        for kind, style in (('kept', '-'), ('all', ':')):
            shares = [means.get(f'iou_{kind}_bin_{number}', 0.0) for number in range(10)]
            axes.stairs(
                shares, edges, color=color, linestyle=style, linewidth=1.7, label=f'{name}: {kind}'
            )
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finish(figure)


def _draw_kept_views(series: Series) -> Figure:
    figure, axes = _new(_SHARES, 'view')
    width = 0.8 / len(series)
    for position, (name, periods) in enumerate(series.items()):
        means = periods[-1].means
        shares = []
        while f'kept_view_{len(shares)}' in means:
            shares.append(means[f'kept_view_{len(shares)}'])
        left = np.arange(len(shares)) - 0.4 + width * (position + 0.5)
        axes.bar(left, shares, width * 0.94, color=look(position)['color'], label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finish(figure)


def _new(label: str, below: str = 'epoch') -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout='constrained')
    axes = figure.subplots()
    style_axes(axes, below, label, grid='0.92')
    return figure, axes


def _finish(figure: Figure) -> Figure:
    labels = figure.axes[0].get_legend_handles_labels()[1]
    figure.set_figheight(_SIZE[1] + 0.17 * -(-len(labels) // 2))
    literally(figure.legend(loc='outside lower left', ncols=2, fontsize=7.5, frameon=False))
    return figure


_CHOICE = partial(_draw_lines, 'entropy over its maximum', choice_entropy='')
_COLOR = partial(_draw_lines, 'mean strength', color_kept=': kept', color_all=': all')
_IOU = partial(_draw_lines, 'mean IoU', iou_kept=': kept', iou_all=': all')
_LOWEST = partial(_draw_lines, _SHARES, lowest_iou='', lowest_iou_chance=': by chance')
_SCORE = partial(_draw_lines, 'score', score_gap='')
_STRONGEST = partial(_draw_lines, _SHARES, strongest_color='', strongest_color_chance=': by chance')
#: Title, the statistic that must have been logged, how to draw.
_PLOTS: Sequence[tuple[str, str, Callable[[Series], Figure]]] = (
    ('IoU of the kept crops, and of all', 'iou_kept', _IOU),
    ('Kept crops with the lowest IoU', 'lowest_iou', _LOWEST),
    ('Score of the kept views minus the mean', 'score_gap', _SCORE),
    ('How evenly the choices fall', 'choice_entropy', _CHOICE),
    ('IoU {when}', 'iou_kept_bin_0', _draw_histogram),
    ('Which views are kept {when}', 'kept_view_0', _draw_kept_views),
    ('Color jitter of the kept views, and of all', 'color_kept', _COLOR),
    ('Kept views with the strongest jitter', 'strongest_color', _STRONGEST),
)
