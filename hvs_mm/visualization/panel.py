"""Pictures of what was selected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

#: Told apart also by people who do not see red and green apart (Okabe and Ito's palette).
_COLORS = ('#0072B2', '#E69F00', '#CC79A7', '#009E73', '#56B4E9', '#D55E00')


def draw_selection(
    images: Sequence[np.ndarray],
    views: Sequence[Sequence[np.ndarray]],
    boxes: np.ndarray,
    kept: np.ndarray,
    captions: Sequence[str],
) -> Figure:
    """Show all candidate views of some images, with the kept ones marked.

    One row per image: the original with the crop boxes, solid for kept views and dotted for the
    others, then the views, the kept ones in a frame.

    Args:
        images: N originals (H, W, 3) uint8, RGB.
        views: Of each, S views (h, w, 3) uint8, RGB.
        boxes: (N, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original.
        kept: (N, number kept) positions of the kept views.
        captions: N lines of text.

    Returns:
        The figure, not bound to any window system; save it with ``figure.savefig``.
    """
    num_views = len(views[0])
    figure = Figure(figsize=(1.5 * (num_views + 1) + 0.2, 1.85 * len(images) + 0.5))
    axes = figure.subplots(len(images), num_views + 1, squeeze=False)
    for row, image in enumerate(images):
        original = axes[row, 0]
        original.imshow(image)
        original.set_title(captions[row], fontsize=7, loc='left')
        for view, box in enumerate(boxes[row]):
            is_kept = view in kept[row]
            color = _COLORS[view % len(_COLORS)]
            left, top, right, bottom = box
            original.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    right - left,
                    bottom - top,
                    fill=False,
                    color=color,
                    linewidth=2 if is_kept else 1.2,
                    linestyle='-' if is_kept else ':',
                )
            )
            axis = axes[row, view + 1]
            axis.imshow(views[row][view])
            axis.set_title(
                f'view {view}' + (', kept' if is_kept else ''),
                fontsize=7,
                color=color,
                fontweight='bold' if is_kept else 'normal',
            )
            for spine in axis.spines.values():
                spine.set_visible(is_kept)
                spine.set_color(color)
                spine.set_linewidth(4)
            if not is_kept:
                axis.images[0].set_alpha(0.55)
        for axis in axes[row]:
            axis.set_xticks([])
            axis.set_yticks([])
        for spine in original.spines.values():
            spine.set_visible(False)
    figure.tight_layout(pad=0.4)
    return figure
