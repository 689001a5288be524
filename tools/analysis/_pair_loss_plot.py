"""Pair loss against IoU, and what else explains it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from _pair_properties import Importance
from matplotlib.figure import Figure

_COLOR, _MEAN = '#0072B2', '#D55E00'
_DPI = 150
#: Groups of equally many pairs, whose means are drawn.
_GROUPS = 10


def draw_pair_loss(
    iou: np.ndarray, pair_loss: np.ndarray, title: str, ranking: Sequence[Importance] = ()
) -> Figure:
    """Scatter the pairs, and show the importance of their properties next to them.

    Args:
        iou: (B, P) IoU of the crops of each pair.
        pair_loss: (B, P).
        title: Stands above the scatter.
        ranking: Importances, the highest first; by default there is no second plot.
    """
    figure = Figure(figsize=(9.5 if ranking else 5.2, 4), layout='constrained', dpi=_DPI)
    axes = figure.subplots(1, 2 if ranking else 1, squeeze=False)[0]
    x, y = iou.ravel(), pair_loss.ravel()
    axes[0].scatter(x, y, s=5, alpha=0.25, color=_COLOR, linewidths=0, rasterized=True)
    # Groups of neighbors in IoU: equally many, so that no mean hangs on a few pairs.
    groups = np.array_split(np.argsort(x, kind='stable'), min(_GROUPS, len(x)))
    axes[0].plot(
        [x[group].mean() for group in groups],
        [y[group].mean() for group in groups],
        color=_MEAN,
        marker='o',
        markersize=4,
        label='mean of a tenth of the pairs',
    )
    axes[0].set_xlabel('IoU of the two crops')
    axes[0].set_ylabel('pair loss')
    axes[0].set_title(title, fontsize=9, loc='left')
    axes[0].legend(fontsize=8, frameon=False)
    if ranking:
        names = [item.name.replace('_', ' ') for item in ranking]
        axes[1].barh(names, [i.mean for i in ranking], xerr=[i.std for i in ranking], color=_COLOR)
        axes[1].invert_yaxis()
        axes[1].axvline(0, color='0.5', linewidth=0.8)
        axes[1].set_xlabel('loss of R2 when shuffled')
        axes[1].set_title('importance within images', fontsize=9, loc='left')
    for axis in axes:
        axis.spines[['top', 'right']].set_visible(False)
    return figure
