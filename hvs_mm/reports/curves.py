"""The plot of the comparison: one line per run over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from .run import Run

#: Okabe and Ito's palette, which works for color blind readers, without the yellow, which is faint
#: on white.
_COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#56B4E9', '#000000')
_MARKERS = 'os^DvPX*'
_LINES = ('-', '--', ':', '-.')
_MAX_MARKERS = 12


def draw_curves(runs: Sequence[Run], k: int) -> Figure | None:
    """Draw the k-NN accuracy of the runs over the epochs, with ``k`` neighbors.

    Runs without such a number have their loss in a second panel, the mean over each epoch. A last
    one has the effective rank of the features of runs that have logged it. A run has one color in
    all panels. Returns a figure, not bound to any window system; None if there is nothing to draw.
    """
    accuracy = {run.name: run.knn[k] for run in runs if run.knn.get(k)}
    loss = {run.name: run.loss_by_epoch() for run in runs if run.name not in accuracy}
    loss = {name: curve for name, curve in loss.items() if curve}
    panels = [(f'k-NN top-1 accuracy, k={k} (%)', accuracy)] if accuracy else []
    panels += [('training loss, mean of the epoch', loss)] if loss else []
    rank = {run.name: curve for run in runs if (curve := run.health('feature_rank'))}
    panels += [('effective rank of the features', rank)] if rank else []
    if not panels:
        return None
    drawn = [run.name for run in runs if any(run.name in curves for _, curves in panels)]
    # By the place among all runs, drawn or not: so they look in the report of the same runs.
    looks = {run.name: look(position) for position, run in enumerate(runs)}
    size = 5.5 * len(panels) + 0.5, 4.0 + 0.22 * len(drawn)
    figure = Figure(figsize=size, layout='constrained')
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    handles = {}
    for axes, (label, curves) in zip(all_axes, panels):
        for name, curve in curves.items():
            (handles[name],) = axes.plot(
                *zip(*sorted(curve.items())),
                label=name,
                markersize=5,
                linewidth=1.6,
                markevery=max(1, len(curve) // _MAX_MARKERS),
                **looks[name],
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style_axes(axes, 'epoch', label)
    legend = [handles[name] for name in drawn], drawn
    literally(figure.legend(*legend, loc='outside lower left', fontsize=9))
    return figure


def shown_name(name: str) -> str:
    """A name for a legend, from which matplotlib leaves out those that begin with an underscore."""
    return f' {name}' if name.startswith('_') else name


def literally(legend: Legend) -> None:
    """Show the texts of a legend as they are: ``$`` begins no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def look(position: int) -> dict[str, str]:
    """Color, marker and line style of the run with that position in a plot."""
    return {
        'color': _COLORS[position % len(_COLORS)],
        'marker': _MARKERS[position % len(_MARKERS)],
        'linestyle': _LINES[position // len(_COLORS) % len(_LINES)],
    }


def style_axes(axes: Axes, x: str, y: str, grid: str = '0.9') -> None:
    """Label the axes of a plot; a faint grid, no frame above and to the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=grid)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
