"""How hard the choices of selectors are, by the pair losses of a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from hvs_mm.selection import ScoreWeights, Selection, Selector, build_selector
from hvs_mm.selection.selectors import kept_scores
from hvs_mm.utils.state_guard import own_random_numbers

#: Settings to compare. Comparisons are drawn for each image: one draw for all says little.
_SETTINGS: tuple[dict[str, Any], ...] = (
    {'type': 'hardest'},
    *({'type': 'hardest', 'max_comparisons': n, 'draw': 'sample'} for n in (256, 64, 16, 8, 4, 2)),
    *({'type': 'softened', 'temperature': t} for t in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)),
    *({'type': 'quantile', 'quantile': q} for q in (0.99, 0.9, 0.75, 0.5)),
    {'type': 'per_group', 'global_crops': 'hardest'},
    {'type': 'per_group', 'local_crops': 'hardest'},
    {'type': 'lowest_iou'},
    *({'type': 'iou_below', 'threshold': t} for t in (0.2, 0.3, 0.4)),
    {'type': 'per_group', 'global_crops': 'lowest_iou'},
    {'type': 'largest_color_difference'},
    {'type': 'random'},
    {'type': 'easiest'},
)


def realized_hardness(
    hardest: Selection,
    weights: ScoreWeights,
    configured: Selector,
    records: dict[str, Tensor],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The realized hardness of selectors, one row each: that of a config, then others.

    Args:
        hardest: A selection of many images, with its pair losses.
        weights: Weights of the parts of its scores.
        configured: The selector of the config.
        records: ``boxes`` (B, S, 4) and ``colors`` (B, S, 7) of the views, on the selection's
            device.
        seed: Seed for their draws.

    Returns:
        Rows with ``selector``; ``same``, the share of images that keep the same views as with the
        hardest choice; ``hardness``, the mean of :meth:`Selection.hardness`, and
        ``hardness_error``, half the width of its 95 % confidence interval over images.
    """
    rows, groups = [], hardest.groups
    for name, selector in [('as configured', configured), *_selectors(hardest)]:
        with own_random_numbers(seed):
            if selector.values is None:
                chosen = selector(hardest.pair_loss, groups, weights)
            else:
                record = records[selector.values.record]
                chosen = selector(selector.values.of_pairs(record, groups.num_targets), groups)
                # By the losses, not by what it has chosen by.
                score = kept_scores(hardest.pair_loss, chosen.indices, groups, weights)
                chosen = replace(hardest, indices=chosen.indices, score=score)
        hardness = chosen.hardness()
        hardness = hardness[hardness.isfinite()].double()
        error = 1.96 * hardness.std() / len(hardness) ** 0.5
        same = (chosen.indices == hardest.indices).all(1).double().mean()
        rows.append(
            {
                'selector': name,
                'same': same.item(),
                'hardness': hardness.mean().item(),
                'hardness_error': error.item(),
            }
        )
    return rows


def _selectors(hardest: Selection) -> Iterator[tuple[str, Selector]]:
    """The settings that make a difference for the groups of views, by name."""
    groups = hardest.groups
    for setting in _SETTINGS:
        has_local = groups.num_target_groups < len(groups.keep)
        if setting.get('max_comparisons', 0) >= groups.num_combinations() or (
            setting['type'] == 'per_group' and not has_local
        ):
            continue
        rest = [f'{key}={value}' for key, value in setting.items() if key not in ('type', 'draw')]
        yield ', '.join([setting['type'], *rest]), build_selector(setting)
