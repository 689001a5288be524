"""Pictures of what was selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

#: Okabe and Ito's palette, which works for color blind readers.
_COLORS = ('#0072B2', '#E69F00', '#CC79A7', '#009E73', '#56B4E9', '#D55E00')
#: Color of all smaller views: too many for colors of their own.
_SMALLER = '#666666'
#: Most views that are drawn of an image: all of DINO's usual 2 + 2 + 16. matplotlib takes 0.1 s and
#: some megabytes for each.
_MAX_VIEWS = 24
#: Views side by side at most.
_COLUMNS = 4
#: Decimals of the losses: as many as tell them apart, between these.
_DECIMALS = range(2, 5)
#: With more views the matrix has no numbers.
_MAX_NUMBERS = 6
_FONT = 7
_DPI = 150


def draw_selection(
    images: Sequence[np.ndarray],
    views: Sequence[Sequence[np.ndarray]],
    boxes: np.ndarray,
    kept: np.ndarray | None,
    captions: Sequence[str],
    pair_loss: np.ndarray | None = None,
    labels: Sequence[Sequence[str]] | None = None,
    num_targets: int | None = None,
    pair_title: str = 'pair loss',
) -> Figure:
    """Show all candidate views of some images, with the kept ones marked.

    One block per image: the original with the crop boxes, solid for kept views and dotted for the
    others; the views, the kept ones in a frame; and the losses of the pairs with the kept ones
    marked. A pair of target views has a loss in either direction: shown is their mean, by which
    the pair is chosen. Of more than 24 views the kept ones and then the first ones are drawn, which
    the caption says; the matrix has all. The figure is not bound to any window system; save it with
    ``figure.savefig``.

    Args:
        images: N originals (H, W, 3) uint8, RGB.
        views: For each image S views (h, w, 3) uint8, RGB.
        boxes: (N, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original.
        kept: (N, number kept) positions of the kept views; None marks no view.
        captions: N lines of text.
        pair_loss: (N, T, S) losses of the pairs, NaN where there is none to show; None for no
            matrix.
        labels: For each image S lines to stand below the views.
        num_targets: Number of target views, which come first and have colors of their own; by
            default those of the first view's size.
        pair_title: What ``pair_loss`` is.
    """
    num_views = len(views[0])
    if num_targets is None:
        num_targets = sum(view.shape == views[0][0].shape for view in views[0])
    num_drawn = min(num_views, _MAX_VIEWS)
    # Beside a matrix there is room for two rows.
    columns = min(num_drawn if pair_loss is None else -(-num_drawn // 2), _COLUMNS)
    rows = -(-num_drawn // columns)
    row_height = 1.25 if labels is None else 1.55
    height = row_height * max(rows, 2 if pair_loss is not None else 1) + 0.3
    widths = [height, 1.3 * columns]
    if pair_loss is not None:
        # Wide enough for the numbers, or for a wide matrix.
        widths.append(height * min(max(pair_loss.shape[2] / pair_loss.shape[1], 1.0), 1.6))
    size = sum(widths) + 0.4, height * len(images)
    figure = Figure(figsize=size, layout='constrained', dpi=_DPI)
    blocks = figure.add_gridspec(len(images), len(widths), width_ratios=widths)
    colors = [_COLORS[v % len(_COLORS)] if v < num_targets else _SMALLER for v in range(num_views)]
    for row, image in enumerate(images):
        is_kept = [kept is None or view in kept[row] for view in range(num_views)]
        drawn = sorted(sorted(range(num_views), key=lambda view: not is_kept[view])[:num_drawn])
        original = figure.add_subplot(blocks[row, 0])
        _draw_original(original, image, boxes[row], drawn, is_kept, colors)
        counted = f'{num_drawn} of {num_views} views drawn' if num_drawn < num_views else ''
        caption = '\n'.join(filter(None, (captions[row], counted)))
        original.set_title(caption, fontsize=_FONT, loc='left')
        grid = blocks[row, 1].subgridspec(rows, columns)
        for place, view in enumerate(drawn):
            axis = figure.add_subplot(grid[place // columns, place % columns])
            name = f'{view} kept' if kept is not None and is_kept[view] else str(view)
            _draw_view(axis, views[row][view], name, is_kept[view], colors[view])
            if labels is not None:
                axis.set_xlabel(labels[row][view], fontsize=_FONT - 1, labelpad=2)
        if pair_loss is not None:
            title = f'{pair_title}, mean of both directions'
            _draw_matrix(figure.add_subplot(blocks[row, 2]), pair_loss[row], is_kept, title)
    return figure


def to_rgb(figure: Figure) -> np.ndarray:
    """The pixels (H, W, 3) uint8, RGB, of a figure of :func:`draw_selection`."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _draw_original(
    axis: Axes,
    image: np.ndarray,
    boxes: np.ndarray,
    drawn: list[int],
    is_kept: list[bool],
    colors: list[str],
) -> None:
    axis.imshow(image)
    # The kept ones last, on top.
    for view in sorted(drawn, key=is_kept.__getitem__):
        left, top, right, bottom = boxes[view]
        box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False)
        width, style = (2, '-') if is_kept[view] else (1.3, ':')
        box.set(color=colors[view], gid=f'view {view}', linewidth=width, linestyle=style)
        axis.add_patch(box)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _draw_view(axis: Axes, view: np.ndarray, name: str, is_kept: bool, color: str) -> None:
    # Not faded: colors are a part of what makes a view hard.
    axis.imshow(view)
    weight = 'bold' if is_kept else 'normal'
    axis.set_title(name, fontsize=_FONT, color=color, fontweight=weight, pad=3)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(visible=is_kept, color=color, linewidth=3)


def _draw_matrix(axis: Axes, pair_loss: np.ndarray, is_kept: list[bool], title: str) -> None:
    """The losses of all pairs, brighter for higher ones; pairs that do not exist stay empty."""
    values = _mean_of_directions(pair_loss)
    num_targets, num_views = values.shape
    finite = values[np.isfinite(values)]
    middle = (finite.min() + finite.max()) / 2 if finite.size else 0.0
    axis.imshow(np.where(np.isfinite(values), values, np.nan), cmap='viridis', aspect='auto')
    decimals = _decimals(finite)
    for (target, view), value in np.ndenumerate(values):
        if num_views <= _MAX_NUMBERS and not np.isnan(value):
            color = 'w' if np.isfinite(value) and value < middle else 'k'
            style: dict[str, Any] = dict(ha='center', va='center', fontsize=_FONT, color=color)
            axis.text(view, target, f'{value:.{decimals}f}', **style)
        # The diagonal counts for methods that have losses of a view and itself.
        has_part = target < view or (target == view and not np.isnan(value))
        if has_part and is_kept[target] and is_kept[view]:
            corner = view - 0.45, target - 0.45
            axis.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, color='#D55E00', lw=1.8))
    axis.set_title(title, fontsize=_FONT, loc='left')
    axis.set_xlabel('view', fontsize=_FONT, labelpad=1)
    axis.set_ylabel('target', fontsize=_FONT, labelpad=1)
    for number, place in ((num_views, axis.set_xticks), (num_targets, axis.set_yticks)):
        place(range(0, number, 1 if number <= 2 * _MAX_NUMBERS else 4))
    axis.tick_params(labelsize=_FONT, length=2, pad=1)
    axis.spines[['top', 'right']].set_visible(False)


def _mean_of_directions(pair_loss: np.ndarray) -> np.ndarray:
    """Losses (T, S) of unordered pairs; NaN below the diagonal, where they would be repeated."""
    num_targets = len(pair_loss)
    values = pair_loss.copy()
    targets = pair_loss[:, :num_targets]
    values[:, :num_targets] = np.where(np.tri(num_targets, k=-1), np.nan, (targets + targets.T) / 2)
    return values


def _decimals(values: np.ndarray) -> int:
    """How many decimals tell values (N,) apart: a marked one must not look like its neighbor."""
    for decimals in _DECIMALS:
        if len({f'{value:.{decimals}f}' for value in values}) == len(np.unique(values)):
            break
    return decimals
