"""Plots of the loss and of the health of runs, from the entries of ``HealthHook``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .curves import literally, look, shown_name, style_axes
from .run import Run

#: Small enough to be read on a phone, where it is as wide as the screen.
_SIZE = (4.6, 3.1)
#: Title, y axis, and for each number of the hook the text after the run's name in the legend.
_PLOTS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    (
        'Effective rank: how many directions matter',
        'RankMe',
        {'feature_rank': ': features', 'projection_rank': ': projections'},
    ),
    (
        'Spread of the features: 0 is collapsed, 1 even',
        'standard deviation',
        {'feature_std': ': features', 'projection_std': ': projections'},
    ),
    ('Distance of two views of an image', 'alignment', {'alignment': ''}),
    ('Spread over the sphere: lower is more even', 'uniformity', {'uniformity': ''}),
    (
        "Entropy of the teacher's outputs",
        'entropy over its maximum',
        {'teacher_mean_entropy': ': of the mean', 'teacher_entropy': ': mean'},
    ),
    ("Information of the student's outputs", 'nats', {'student_information': ''}),
)
_LINES = ('-', ':')


def draw_health_plots(runs: Sequence[Run]) -> dict[str, Figure]:
    """The loss and all numbers of the health that some of the runs have logged, by title.

    Each run has the color of its position among ``runs`` in all of them. Empty if no run has logged
    its health.
    """
    if not any(run.log.health for run in runs):
        return {}
    figures: dict[str, Figure] = {}
    losses = {run.name: [('', run.loss_by_epoch())] for run in runs}
    _add_plot(figures, 'Training loss', 'mean of the epoch', losses, runs)
    for title, y, names in _PLOTS:
        curves = {
            run.name: [(ending, run.health(name)) for name, ending in names.items()] for run in runs
        }
        _add_plot(figures, title, y, curves, runs)
    return figures


def _add_plot(
    figures: dict[str, Figure],
    title: str,
    y: str,
    curves: Mapping[str, Sequence[tuple[str, Mapping[int, float]]]],
    runs: Sequence[Run],
) -> None:
    """Add a plot of the curves of each run, unless all are empty."""
    if not any(curve for found in curves.values() for _, curve in found):
        return
    figure = Figure(figsize=_SIZE, layout='constrained')
    axes = figure.subplots()
    style_axes(
        axes, 'epoch' if all(run.config.by_epoch for run in runs) else 'iteration', y, '0.92'
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for position, run in enumerate(runs):
        style = look(position)
        for line, (ending, curve) in zip(_LINES, curves[run.name]):
            if curve:
                axes.plot(
                    *zip(*sorted(curve.items())),
                    color=style['color'],
                    # A run of a single epoch has no line.
                    marker=None if len(curve) > 1 else style['marker'],
                    linestyle=line,
                    linewidth=1.6,
                    label=shown_name(run.name) + ending,
                )
    labels = axes.get_legend_handles_labels()[1]
    figure.set_figheight(_SIZE[1] + 0.17 * -(-len(labels) // 2))
    literally(figure.legend(loc='outside lower left', ncols=2, fontsize=7.5, frameon=False))
    figures[title] = figure
