"""Plots of what was selected over a run, or over several to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .curves import literally, look
from .selection_series import Period

#: Small enough to be read on a phone, where it is as wide as the screen.
_SIZE = (4.6, 3.1)
Series = Mapping[str, Sequence[Period]]


def draw_selection_plots(series: Series, by_epoch: bool = True) -> dict[str, Figure]:
    """All plots for which there are numbers, by title.

    Args:
        series: The statistics of each run by its name.
        by_epoch: Whether positions are epochs.
    """
    # matplotlib leaves out of a legend what begins with an underscore.
    shown = {
        f' {name}' if name.startswith('_') else name: periods
        for name, periods in series.items()
        if periods
    }
    when = 'in the last epoch' if by_epoch else 'at the end'
    plots: list[tuple[str, Callable[[Series], Figure], str]] = [
        ('IoU of the kept crops, and of all', _draw_iou, 'iou_kept'),
        ('Kept crops with the lowest IoU', _draw_lowest, 'lowest_iou'),
        ('Score of the kept views minus the mean', _draw_score_gap, 'score_gap'),
        ('How evenly the choices fall', _draw_entropy, 'choice_entropy'),
        (
            'IoU in the last epoch' if by_epoch else 'IoU at the end',
            _draw_histogram,
            'iou_kept_bin_0',
        ),
        (f'Which views are kept {when}', _draw_kept_views, 'kept_view_0'),
        ('Color jitter of the kept views, and of all', _draw_color, 'color_kept'),
        ('Kept views with the strongest jitter', _draw_strongest, 'strongest_color'),
    ]
    figures = {}
    for title, draw, needed in plots:
        having = {
            name: [period for period in periods if _tells(period, needed)]
            for name, periods in shown.items()
        }
        having = {name: periods for name, periods in having.items() if periods}
        if having:
            figures[title] = draw(having)
            for axes in figures[title].axes:
                if axes.get_xlabel() == 'epoch' and not by_epoch:
                    axes.set_xlabel('iteration')
    return figures


def _tells(period: Period, key: str) -> bool:
    """Whether a statistic was logged; of colors, whether views differed in them."""
    is_alike = 'color' in key and period.means.get('strongest_color_chance') == 1
    return key in period.means and not is_alike


def _draw_iou(series: Series) -> Figure:
    figure, axes = _new('mean IoU')
    for position, (name, periods) in enumerate(series.items()):
        errors = [period.gap_error('iou') or 0.0 for period in periods]
        _line(axes, position, periods, 'iou_kept', f'{name}: kept', errors)
        _line(axes, position, periods, 'iou_all', f'{name}: all', faint=True)
    return _finish(figure)


def _draw_lowest(series: Series) -> Figure:
    return _draw_share(series, 'lowest_iou')


def _draw_strongest(series: Series) -> Figure:
    return _draw_share(series, 'strongest_color')


def _draw_share(series: Series, key: str) -> Figure:
    figure, axes = _new('share of images')
    for position, (name, periods) in enumerate(series.items()):
        _line(axes, position, periods, key, name)
        low, high = zip(*(period.share_interval(key) for period in periods))
        axes.fill_between(
            _positions(periods), low, high, color=look(position)['color'], alpha=0.18, linewidth=0
        )
        _line(axes, position, periods, f'{key}_chance', f'{name}: by chance', faint=True)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _finish(figure)


def _draw_score_gap(series: Series) -> Figure:
    figure, axes = _new('score')
    for position, (name, periods) in enumerate(series.items()):
        errors = [period.gap_error('score') or 0.0 for period in periods]
        _line(axes, position, periods, 'score_gap', name, errors)
    axes.axhline(0, color='0.6', linewidth=0.8, zorder=0)
    return _finish(figure)


def _draw_entropy(series: Series) -> Figure:
    figure, axes = _new('entropy over its maximum')
    for position, (name, periods) in enumerate(series.items()):
        _line(axes, position, periods, 'choice_entropy', name)
    axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.005)
    return _finish(figure)


def _draw_color(series: Series) -> Figure:
    figure, axes = _new('mean strength')
    for position, (name, periods) in enumerate(series.items()):
        _line(axes, position, periods, 'color_kept', f'{name}: kept')
        _line(axes, position, periods, 'color_all', f'{name}: all', faint=True)
    return _finish(figure)


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
    figure, axes = _new('share of images', 'view')
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
    axes.set_ylabel(label)
    axes.set_xlabel(below)
    axes.grid(color='0.92')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if below == 'epoch':
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure, axes


def _positions(periods: Sequence[Period]) -> list[int]:
    return [period.position for period in periods]


def _line(
    axes: Axes,
    position: int,
    periods: Sequence[Period],
    key: str,
    label: str,
    errors: Sequence[float] | None = None,
    faint: bool = False,
) -> None:
    """One statistic of one run, with its 95 % confidence band; nothing if it was not logged."""
    if not all(key in period.means for period in periods):
        return
    values = np.array([period.means[key] for period in periods])
    style = look(position)
    axes.plot(
        _positions(periods),
        values,
        color=style['color'],
        # A run of a single epoch has no line.
        marker=None if len(periods) > 1 else style['marker'],
        markerfacecolor='none' if faint else style['color'],
        linestyle=':' if faint else '-',
        linewidth=1.4 if faint else 1.8,
        label=label,
    )
    if errors is not None:
        axes.fill_between(
            _positions(periods),
            values - errors,
            values + errors,
            color=style['color'],
            alpha=0.18,
            linewidth=0,
        )


def _finish(figure: Figure) -> Figure:
    labels = figure.axes[0].get_legend_handles_labels()[1]
    figure.set_figheight(_SIZE[1] + 0.17 * -(-len(labels) // 2))
    literally(figure.legend(loc='outside lower left', ncols=2, fontsize=7.5, frameon=False))
    return figure
