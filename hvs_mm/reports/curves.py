"""The plot of the comparison: one line per run over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from .run import Run

#: Told apart also by people who do not see red and green apart (Okabe and Ito's palette, without
#: the yellow, which is faint on white).
_COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#D55E00', '#56B4E9', '#000000')
_MARKERS = 'os^DvPX*'
_LINES = ('-', '--', ':', '-.')
_MAX_MARKERS = 12


def draw_curves(runs: Sequence[Run], k: int) -> Figure | None:
    """Draw the k-NN accuracy of the runs over the epochs.

    Runs without such a number have their loss in a second panel, the mean over each epoch.

    Args:
        runs: The runs. Those that count iterations, not epochs, and have no k-NN accuracy are left
            out, and so are those that have not logged anything.
        k: Neighbors of the k-NN classifier.

    Returns:
        The figure, not bound to any window system; None if there is nothing to draw.
    """
    accuracy = {run.name: run.knn[k] for run in runs if run.knn.get(k)}
    loss = {run.name: run.loss_by_epoch() for run in runs if run.name not in accuracy}
    loss = {name: curve for name, curve in loss.items() if curve}
    panels = [
        (f'k-NN top-1 accuracy, k={k} (%)', accuracy),
        ('training loss, mean of the epoch', loss),
    ]
    panels = [(label, curves) for label, curves in panels if curves]
    if not panels:
        return None
    drawn = [run.name for run in runs if run.name in accuracy or run.name in loss]
    looks = {name: look(position) for position, name in enumerate(drawn)}
    figure = Figure(
        figsize=(5.5 * len(panels) + 0.5, 4.0 + 0.22 * len(drawn)), layout='constrained'
    )
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _draw_panel(axes, label, curves, looks)
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    literally(
        figure.legend([handles[n] for n in drawn], drawn, loc='outside lower left', fontsize=9)
    )
    return figure


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


def _draw_panel(
    axes: Axes,
    label: str,
    curves: Mapping[str, Mapping[int, float]],
    looks: Mapping[str, Mapping[str, str]],
) -> None:
    for name, curve in curves.items():
        epochs = sorted(curve)
        axes.plot(
            epochs,
            [curve[epoch] for epoch in epochs],
            label=name,
            markersize=5,
            linewidth=1.6,
            markevery=max(1, len(epochs) // _MAX_MARKERS),
            **looks[name],
        )
    axes.set_xlabel('epoch')
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color='0.9')
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
