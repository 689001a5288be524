"""Scores of combinations of views, formed from the pair-loss tensor.

The score of a combination with target views ``A`` and local views ``K`` is the method's own
training loss of that sample (method of Hard View Selection, arXiv 2310.03940):

    cross = sum of L[t, s] over t in A and s in A or K, s != t
    score = cross_weight * cross / terms + diagonal_weight * mean of L[t, t] over t in A

with ``terms = |A| (|A| - 1) + |A| |K|``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..utils.to_device import index_tensor
from .groups import ViewGroups


@dataclass(frozen=True)
class ScoreWeights:
    """Weights of the two parts of a score.

    Attributes:
        cross: Weight of the mean over pairs of different views.
        diagonal: Weight of the mean over the target views' own losses ``L[t, t]``; zero for all
            methods but iBOT.
    """

    cross: float = 1.0
    diagonal: float = 0.0


def cross_sums(
    pair_loss: Tensor, combinations: Sequence[Sequence[int]], num_targets: int
) -> Tensor:
    """Sum of the pair losses (B, T, S) of each of C combinations, (B, C).

    A combination lists view positions, of which the first ``num_targets`` are targets.
    """
    num_views = pair_loss.shape[2]
    cells = [
        [t * num_views + s for t in views[:num_targets] for s in views if s != t]
        for views in combinations
    ]
    index = index_tensor(cells, pair_loss.device)
    # (B, T * S) gathered at (combinations, terms) -> (B, combinations, terms). Gathered, not
    # multiplied with a 0/1 mask: a NaN outside of a combination must not reach its score.
    return pair_loss.flatten(1)[:, index].sum(-1)


def diagonal_means(pair_loss: Tensor, combinations: Sequence[Sequence[int]]) -> Tensor:
    """Mean of ``L[t, t]`` (B, C) over the target views of C combinations of target views."""
    # (B, T) gathered at (combinations, targets) -> (B, combinations, targets)
    diagonal = torch.diagonal(pair_loss, dim1=1, dim2=2)
    return diagonal[:, index_tensor(combinations, pair_loss.device)].mean(-1)


def is_finite(values: Tensor) -> Tensor:
    """As ``torch.isfinite``, with half as many kernels: the tensors here are small."""
    # A comparison with NaN is false.
    return values.abs() < torch.inf


def finite_mean(values: Tensor) -> Tensor:
    """Mean over the finite entries of the last dimension, NaN where there is none."""
    finite = is_finite(values)
    return torch.where(finite, values, 0).sum(-1) / finite.sum(-1)


def rank_key(values: Tensor, sign: int) -> Tensor:
    """Values to sort in descending order, from the highest or, for ``sign`` -1, from the lowest.

    Those that are not finite come last.
    """
    return torch.where(is_finite(values), values if sign == 1 else -values, -torch.inf)


def kept_scores(
    pair_loss: Tensor, indices: Tensor, groups: ViewGroups, weights: ScoreWeights
) -> Tensor:
    """Scores (B,) of one combination per sample, (B, kept), from the pair losses (B, T, S)."""
    samples = torch.arange(len(pair_loss), device=pair_loss.device)[:, None, None]
    targets = indices[:, : groups.num_kept_targets]
    # (B, kept targets, kept)
    cells = pair_loss[samples, targets[:, :, None], indices[:, None, :]]
    itself = torch.eye(cells.shape[1], cells.shape[2], dtype=torch.bool, device=cells.device)
    sums = cells.masked_fill(itself, 0).sum((1, 2))
    score = weights.cross * sums / groups.num_cross_terms
    if weights.diagonal:
        score = score + weights.diagonal * cells.diagonal(dim1=1, dim2=2).mean(1)
    return score


def combination_scores(
    pair_loss: Tensor,
    combinations: Sequence[Sequence[int]],
    groups: ViewGroups,
    weights: ScoreWeights = ScoreWeights(),
) -> Tensor:
    """Scores (B, C) of C combinations of ``num_kept`` views from the pair losses (B, T, S)."""
    kept_targets = groups.num_kept_targets
    sums = cross_sums(pair_loss, combinations, kept_targets)
    scores = weights.cross * sums / groups.num_cross_terms
    if weights.diagonal:
        targets = [views[:kept_targets] for views in combinations]
        scores = scores + weights.diagonal * diagonal_means(pair_loss, targets)
    return scores
