"""Plots of what was selected over a run, or over several to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .curves import literally, look, shown_name, style_axes
from .selection_series import Period

#: Small enough to be read on a phone, where it is as wide as the screen.
_SIZE = (4.6, 3.1)
_SHARES = 'share of images'
Series = Mapping[str, Sequence[Period]]
Looks = Mapping[str, Mapping[str, str]]


def draw_selection_plots(series: Series, by_epoch: bool = True) -> dict[str, Figure]:
    """All plots for which there are numbers, by title, of runs by name."""
    shown = {shown_name(name): found for name, found in series.items()}
    # By the place among all runs, so that a run looks the same in every plot.
    looks = {name: look(position) for position, name in enumerate(shown)}
    figures = {}
    for title, y, endings in _PLOTS:
        needed = next(iter(endings))
        logged = {
            name: [period for period in periods if _has(period, needed)]
            for name, periods in shown.items()
        }
        # A run without them keeps its place, so that the others keep their colors.
        if not any(logged.values()):
            continue
        figure = Figure(figsize=_SIZE, layout='constrained')
        axes = figure.subplots()
        draw, x = _LAST_PERIOD.get(needed, (_draw_lines, 'epoch' if by_epoch else 'iteration'))
        style_axes(axes, x, y, grid='0.92')
        draw(axes, logged, endings, looks)
        if y.startswith('share'):
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        labels = axes.get_legend_handles_labels()[1]
        figure.set_figheight(_SIZE[1] + 0.17 * -(-len(labels) // 2))
        literally(figure.legend(loc='outside lower left', ncols=2, fontsize=7.5, frameon=False))
        title = title.format(when='in the last epoch' if by_epoch else 'at the end')
        figures[title] = figure
    return figures


def _has(period: Period, key: str) -> bool:
    """Whether a statistic was logged; of colors, whether views differed in them."""
    if key == 'color_difference_kept':
        # Unlike the strength of the jitter, this counts gray views.
        return period.means.get('color_difference_all', 0) > 0
    is_alike = 'color' in key and period.means.get('strongest_color_chance') == 1
    return key in period.means and not is_alike


def _draw_lines(axes: Axes, series: Series, endings: Mapping[str, str], looks: Looks) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for name, periods in series.items():
        for key, ending in endings.items():
            if periods and all(key in period.means for period in periods):
                _line(axes, looks[name], periods, key, name + ending)
    if 'score_gap' in endings:
        axes.axhline(0, color='0.6', linewidth=0.8, zorder=0)
    if 'choice_entropy' in endings:
        axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.005)


def _line(
    axes: Axes, style: Mapping[str, str], periods: Sequence[Period], key: str, label: str
) -> None:
    """One statistic of one run, with its 95 % confidence band."""
    x = [period.position for period in periods]
    is_reference = key.endswith(('_all', '_chance'))
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
    if key == 'iou_kept':
        # That of its difference from the mean of all.
        error = period.gap_error('iou') or 0.0
        return period.means[key] - error, period.means[key] + error
    return period.interval(key)


def _draw_histogram(axes: Axes, series: Series, endings: Mapping[str, str], looks: Looks) -> None:
    edges = np.linspace(0, 1, 11)
    for name, periods in series.items():
        if not periods:
            continue
        means, color = periods[-1].means, looks[name]['color']
        for kind, style in (('kept', '-'), ('all', ':')):
            shares = [means.get(f'iou_{kind}_bin_{number}', 0.0) for number in range(10)]
            axes.stairs(
                shares, edges, color=color, linestyle=style, linewidth=1.7, label=f'{name}: {kind}'
            )


def _draw_kept_views(axes: Axes, series: Series, endings: Mapping[str, str], looks: Looks) -> None:
    width = 0.8 / len(series)
    for position, (name, periods) in enumerate(series.items()):
        if not periods:
            continue
        means = periods[-1].means
        shares: list[float] = []
        while f'kept_view_{len(shares)}' in means:
            shares.append(means[f'kept_view_{len(shares)}'])
        left = np.arange(len(shares)) - 0.4 + width * (position + 0.5)
        axes.bar(left, shares, width * 0.94, color=looks[name]['color'], label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


_LOWEST = {'lowest_iou': '', 'lowest_iou_chance': ': by chance'}
_COLOR = {'color_kept': ': kept', 'color_all': ': all'}
_DIFFERENCE = {'color_difference_kept': ': kept', 'color_difference_all': ': all'}
_STRONGEST = {'strongest_color': '', 'strongest_color_chance': ': by chance'}
#: Title, y axis, and for each statistic the text after the run's name in the legend. Without the
#: first statistic there is no plot.
_PLOTS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    ('IoU of the kept crops, and of all', 'mean IoU', {'iou_kept': ': kept', 'iou_all': ': all'}),
    ('Kept crops with the lowest IoU', _SHARES, _LOWEST),
    ('Score of the kept views minus the mean', 'score', {'score_gap': ''}),
    ('Realized hardness', '0 random, 1 hardest', {'hardness': ''}),
    ('How evenly the choices fall', 'entropy over its maximum', {'choice_entropy': ''}),
    ('IoU {when}', 'share of pairs', {'iou_kept_bin_0': ''}),
    ('Which views are kept {when}', _SHARES, {'kept_view_0': ''}),
    ('Color jitter of the kept views, and of all', 'mean strength', _COLOR),
    ('Kept views with the strongest jitter', _SHARES, _STRONGEST),
    ('Difference in color of the kept views, and of all', 'mean difference', _DIFFERENCE),
)
#: How to draw the last period of each run, and the x axis.
_LAST_PERIOD = {
    'iou_kept_bin_0': (_draw_histogram, 'IoU'),
    'kept_view_0': (_draw_kept_views, 'view'),
}
