"""Sums of the statistics of images, which batches, processes and starts of a run add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..record import MAX_LOGGED_COMBINATIONS, Selection
from .choice import choice_entropy, image_statistics

#: Statistics whose standard deviation is reported, too.
_GAPS = ('iou_gap', 'score_gap')


def sum_statistics(
    selection: Selection, **records: Tensor
) -> tuple[list[str], list[tuple[int, ...]], Tensor]:
    """Sum the statistics of :func:`image_statistics` over the images of a selection.

    Args:
        selection: Of B images.
        **records: Those of the views, as :func:`image_statistics` takes them.

    Returns:
        Names of N statistics of an image; the C admissible combinations of target views; and
        (2 N + C,) float64 on the CPU: sums over the images that have the statistic, the numbers of
        these images, and the number of images that keep each of the combinations.
    """
    per_image = image_statistics(selection, **records)
    for name in _GAPS:
        if name in per_image:
            per_image[f'{name}_square'] = per_image[name].square()
    choices = selection.groups.target_combinations()
    counts = (selection.choice_shares() * len(selection.indices)).round()
    # (N, B)
    values = torch.stack(list(per_image.values())).double()
    values = torch.cat([values.nansum(1), (~values.isnan()).sum(1), counts]).cpu()
    return list(per_image), choices, values


def mean_statistics(
    names: Sequence[str], choices: Sequence[tuple[int, ...]], values: Sequence[float]
) -> dict[str, Any]:
    """The means over images, from (sums of) what :func:`sum_statistics` returns.

    NaN where no image has the statistic. With them the standard deviations over images of the gaps
    (``iou_gap_std``, ``score_gap_std``), the shares ``kept_0-1`` ... of the combinations, unless
    there are many, their ``choice_entropy``, and the number of ``images``; ``score_gap_images``
    counts those with a finite score.
    """
    totals, numbers = values[: len(names)], values[len(names) : 2 * len(names)]
    counts = values[2 * len(names) :]
    found: dict[str, Any] = {
        name: total / number if number else float('nan')
        for name, total, number in zip(names, totals, numbers)
    }
    for name in _GAPS:
        square = found.pop(f'{name}_square', None)
        if square is not None:
            found[f'{name}_std'] = max(square - found[name] ** 2, 0.0) ** 0.5
    images = int(sum(counts))
    if len(choices) <= MAX_LOGGED_COMBINATIONS:
        for kept, count in zip(choices, counts):
            found['kept_' + '-'.join(map(str, kept))] = count / images
    found['choice_entropy'] = choice_entropy(torch.tensor(counts, dtype=torch.float64))
    found['images'] = images
    found['score_gap_images'] = int(numbers[names.index('score_gap')])
    return found
