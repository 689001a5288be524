"""How the kept views compare with all candidates.

A *combination* here is a choice of target views, as in ``ViewGroups.target_combinations``; ``B``
images, ``S`` views, ``P`` pairs of views, ``C`` combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from ...utils.to_device import index_tensor
from ..record import Selection
from .color import COLOR_CHANGES, color_deviation, color_difference, color_strength
from .geometry import pair_geometry, pair_ious


class Comparison(NamedTuple):
    """A quantity of the kept combination against that of all; all (B,).

    Attributes:
        kept: Value of the kept combination.
        all: Mean over all combinations.
        is_extreme: 1 if the kept combination has the lowest (or highest) value of all, else 0.
        chance: Expectation of ``is_extreme`` for a random choice; above ``1 / C`` where several
            combinations share the extreme.
    """

    kept: Tensor
    all: Tensor
    is_extreme: Tensor
    chance: Tensor


def compare_choice(values: Tensor, choice: Tensor, highest: bool = False) -> Comparison:
    """Compare the kept combination of each image, ``choice`` (B,) int64, with all of them.

    The quantity is ``values`` (B, C); its extreme is the lowest value, or the highest.
    """
    kept = values.gather(1, choice[:, None]).squeeze(1)
    extreme = values.amax(1) if highest else values.amin(1)
    # Sums of the same numbers in another order differ in the last digits.
    shares = torch.isclose(values, extreme[:, None], rtol=1e-5, atol=1e-6).to(values.dtype)
    return Comparison(
        kept=kept,
        all=values.mean(1),
        is_extreme=shares.gather(1, choice[:, None]).squeeze(1),
        chance=shares.mean(1),
    )


def pairs_within(choices: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """All pairs of views that stand together in some combination, in order."""
    return sorted({pair for views in choices for pair in combinations(views, 2)})


def mean_over_pairs(
    values: Tensor, pairs: Sequence[tuple[int, int]], choices: Sequence[Sequence[int]]
) -> Tensor:
    """Mean of a quantity (B, P) of P pairs over the pairs within each of C combinations, (B, C).

    The pairs come from :func:`pairs_within`; combinations have equal size, two views at least.
    """
    columns = [[pairs.index(pair) for pair in combinations(views, 2)] for views in choices]
    return mean_over_views(values, columns)


def mean_over_views(values: Tensor, choices: Sequence[Sequence[int]]) -> Tensor:
    """Mean of a quantity (B, S) of views over the views of each of C combinations, (B, C)."""
    # (B, C, views)
    return values[:, index_tensor(choices, values.device)].mean(-1)


def choice_entropy(counts: Tensor) -> float:
    """How evenly the choices fall, from counts (C,): 1 if equally often, 0 if always the same."""
    if len(counts) < 2:
        return 0.0
    shares = counts[counts > 0].double() / counts.sum()
    return float(-(shares * shares.log()).sum() / log(len(counts))) + 0.0


def image_statistics(
    selection: Selection,
    boxes: Tensor,
    flips: Tensor | None = None,
    colors: Tensor | None = None,
    masked: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compare the kept views of each image with all its candidates.

    Args:
        selection: Selection for B images with S candidate views.
        boxes: (B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original images. What is
            measured by them is NaN for images of which a box is NaN.
        flips: (B, S, 2) bool, mirrored horizontally, vertically.
        colors: (B, S, 7) as recorded by ``CandidateViews``.
        masked: (B, T) share of masked patches of the T target views, from 0 to 1.

    Returns:
        By name (B,) float32 tensors, whose means over images are reported. A quantity has ``_kept``
        for the kept combination and ``_all`` for the mean of all; ``lowest_...``, ``strongest_...``
        and their ``_chance`` are those of :class:`Comparison`:

        - ``score_gap``, kept score minus the mean of all; NaN where no score is finite,
        - ``hardness``, see :meth:`Selection.hardness`,
        - ``nonfinite``, the share of such scores; ``kept_view_0`` ..., 1 if that view was kept,
        - where two target views or more are kept, the fields of :class:`PairGeometry`, ``iou_gap``,
          ``lowest_iou``, and ``iou_kept_bin_0`` ... ``iou_all_bin_9``, the share of combinations
          whose IoU lies in that tenth from 0 to 1,
        - where smaller views are kept, ``local_iou`` between them and the target views,
        - with ``colors``, ``color`` (:func:`color_strength`) and the deviations of each of
          :data:`COLOR_CHANGES`, means over the target views, with ``strongest_color`` and so on;
          where two target views or more are kept, ``color_difference``, the mean of
          :func:`color_difference` over their pairs,
        - with ``masked``, the mean over the target views.
    """
    groups, choice = selection.groups, selection.target_choice
    choices = groups.target_combinations()
    gap = selection.score - selection.mean_score
    found = {
        'score_gap': gap.where(gap.isfinite(), float('nan')),
        'hardness': selection.hardness(),
        'nonfinite': selection.nonfinite,
    }
    # (B, kept, 1) == (S,) -> (B, S)
    views = torch.arange(groups.num_views, device=choice.device)
    kept_views = (selection.indices[..., None] == views).any(1).float()
    for view, kept in enumerate(kept_views.unbind(1)):
        found[f'kept_view_{view}'] = kept
    by_box: dict[str, Tensor] = {}
    if groups.num_kept_targets > 1:
        pairs = pairs_within(choices)
        for name, values in pair_geometry(boxes, pairs, flips)._asdict().items():
            of_combinations = mean_over_pairs(values, pairs, choices)
            compared = compare_choice(of_combinations, choice)
            by_box[f'{name}_kept'], by_box[f'{name}_all'] = compared.kept, compared.all
            if name == 'iou':
                by_box['iou_gap'] = compared.kept - compared.all
                by_box['lowest_iou'], by_box['lowest_iou_chance'] = compared[2:]
                for bins, shown in (('kept', compared.kept[:, None]), ('all', of_combinations)):
                    for number, share in enumerate(_shares_in_tenths(shown).unbind(1)):
                        by_box[f'iou_{bins}_bin_{number}'] = share
    if groups.num_kept > groups.num_kept_targets:
        by_box['local_iou_kept'], by_box['local_iou_all'] = _local_ious(selection, boxes)
    unknown = boxes.isnan().flatten(1).any(1)
    found.update({name: value.masked_fill(unknown, torch.nan) for name, value in by_box.items()})
    if colors is not None:
        deviations = dict(zip(COLOR_CHANGES, color_deviation(colors).unbind(-1)))
        for name, values in {'color': color_strength(colors), **deviations}.items():
            compared = compare_choice(mean_over_views(values, choices), choice, highest=True)
            found[f'{name}_kept'], found[f'{name}_all'] = compared.kept, compared.all
            found[f'strongest_{name}'], found[f'strongest_{name}_chance'] = compared[2:]
        if groups.num_kept_targets > 1:
            first, second = index_tensor(pairs, colors.device).unbind(1)
            differences = color_difference(colors[:, first], colors[:, second])
            compared = compare_choice(mean_over_pairs(differences, pairs, choices), choice)
            found['color_difference_kept'], found['color_difference_all'] = compared[:2]
    if masked is not None:
        compared = compare_choice(mean_over_views(masked, choices), choice)
        found['masked_kept'], found['masked_all'] = compared.kept, compared.all
    return found


def _shares_in_tenths(values: Tensor) -> Tensor:
    """The share of (B, C) values from 0 to 1 in each tenth, (B, 10); 1 counts for the last."""
    number = (values * 10).long().clamp(0, 9)
    # (B, C, 1) == (10,) -> (B, 10)
    return (number[..., None] == torch.arange(10, device=values.device)).float().mean(1)


def _local_ious(selection: Selection, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean IoU of target and smaller views, of the kept ones and of all."""
    groups = selection.groups
    pairs = list(product(range(groups.num_targets), range(groups.num_targets, groups.num_views)))
    # (B, targets, locals)
    ious = pair_ious(boxes, pairs).unflatten(1, (groups.num_targets, -1))
    targets, smaller = selection.indices.split(
        [groups.num_kept_targets, groups.num_kept - groups.num_kept_targets], dim=1
    )
    samples = torch.arange(len(boxes), device=boxes.device)[:, None, None]
    # (B, kept targets, kept locals)
    kept = ious[samples, targets[:, :, None], smaller[:, None, :] - groups.num_targets]
    return kept.mean((1, 2)), ious.mean((1, 2))
