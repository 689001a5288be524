"""Selection rules: each reads the pair-loss tensor and knows no method."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ..utils.arguments import check_whole
from ..utils.registry import build_part
from ..utils.to_device import index_tensor
from .groups import ViewGroups
from .record import Selection
from .scores import ScoreWeights, cross_sums, diagonal_means, finite_mean


class Selector(ABC):
    """A rule that keeps one admissible combination of views per sample."""

    @abstractmethod
    def __call__(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> Selection:
        """Choose the kept views by ``pair_loss`` (B, T, S), floating point.

        Raises:
            ValueError: If it does not have the T target and S candidate views of ``groups``.
        """


class _ExtremeSelector(Selector):
    """Keeps the combination at one end of the order of scores.

    The search is exact and costs one sort per group of local views: for fixed target views the
    local part of a score is a sum of independent terms, so the best locals are the top ones.

    A NaN or infinite score never wins over a finite one; ties go to the combination that comes
    first in lexicographic order, that is to the lowest index.

    Args:
        max_comparisons: Score only this many combinations, drawn at random without replacement and
            shared by the samples of a batch, as the paper does for DINO. ``None`` searches all of
            them.

    Raises:
        ValueError: If ``max_comparisons`` is not a positive integer.
    """

    #: 1 keeps the highest score, -1 the lowest.
    _sign: int

    def __init__(self, max_comparisons: int | None = None) -> None:
        if max_comparisons is not None:
            hint = 'or leave it out to search all combinations.'
            check_whole('max_comparisons', max_comparisons, hint=hint)
        self.max_comparisons = max_comparisons

    def __call__(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> Selection:
        if pair_loss.ndim != 3 or pair_loss.shape[1:] != (groups.num_targets, groups.num_views):
            raise ValueError(
                f'pair_loss has shape {tuple(pair_loss.shape)}, expected (B, {groups.num_targets}, '
                f'{groups.num_views}) for candidates={list(groups.candidates)} of which the first '
                f'{groups.num_target_groups} group(s) are targets.'
            )
        count = self.max_comparisons
        if count is None or count >= groups.num_combinations():
            combinations, scores, means = self._best_of_targets(pair_loss, groups, weights)
        else:
            numbers = random.sample(range(groups.num_combinations()), count)
            listed = [groups.combination(number) for number in sorted(numbers)]
            scores = means = combination_scores(pair_loss, listed, groups, weights)
            combinations = index_tensor(listed, pair_loss.device).expand(len(pair_loss), -1, -1)
        # torch.argmax returns the first of equal values.
        choice = self._rank_key(scores).argmax(1)
        # (B, C, kept) at the chosen c -> (B, kept)
        indices = combinations[torch.arange(len(choice), device=choice.device), choice]
        return Selection(
            indices=indices,
            score=scores.gather(1, choice[:, None])[:, 0],
            pair_loss=pair_loss,
            mean_score=finite_mean(means),
            target_choice=_target_choice(indices, groups),
            nonfinite=1 - scores.isfinite().to(scores.dtype).mean(1),
            groups=groups,
        )

    def _rank_key(self, values: Tensor) -> Tensor:
        """Values to sort in descending order: the better, the higher; non-finite ones last."""
        return torch.where(values.isfinite(), self._sign * values, -torch.inf)

    def _best_of_targets(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For each choice of targets its best combination (B, C, kept), that one's score (B, C),
        and the mean score (B, C) of all combinations with these targets.
        """
        targets = groups.target_combinations()
        # (C, kept targets)
        target_index = index_tensor(targets, pair_loss.device)
        best = mean = cross_sums(pair_loss, targets, groups.num_kept_targets)
        picks = [target_index.expand(len(pair_loss), -1, -1)]
        for span, kept in list(zip(groups.spans(), groups.keep))[groups.num_target_groups :]:
            # (B, C, kept targets, locals) -> (B, C, locals)
            local = pair_loss[:, target_index, span.start : span.stop].sum(2)
            order = self._rank_key(local).sort(dim=-1, descending=True, stable=True).indices
            top = order[..., :kept].sort(-1).values
            best = best + local.gather(-1, top).sum(-1)
            mean = mean + kept * finite_mean(local)
            picks.append(top + span.start)
        terms = groups.num_cross_terms
        diagonal = weights.diagonal * diagonal_means(pair_loss, targets) if weights.diagonal else 0
        scores = weights.cross * best / terms + diagonal
        return torch.cat(picks, dim=2), scores, weights.cross * mean / terms + diagonal


@TASK_UTILS.register_module()
class HardestSelector(_ExtremeSelector):
    """Hard View Selection: keeps the combination with the highest score (arXiv 2310.03940)."""

    _sign = 1


@TASK_UTILS.register_module()
class EasiestSelector(_ExtremeSelector):
    """Ablation: keeps the combination with the lowest score."""

    _sign = -1


@TASK_UTILS.register_module()
class RandomSelector(Selector):
    """Control: keeps a uniformly random admissible combination of each sample.

    The candidates are forwarded and scored as for :class:`HardestSelector`, so a run costs the same
    and only the choice differs. Draws from torch's global generator of the device. A sample whose
    draw has a score that is not finite keeps its hardest combination instead.
    """

    def __call__(
        self, pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> Selection:
        reference = HardestSelector()(pair_loss, groups, weights)
        picks = []
        for span, kept in zip(groups.spans(), groups.keep):
            shape = (len(pair_loss), len(span))
            # Ranks of i.i.d. numbers are a uniform permutation: (B, candidates) -> (B, kept).
            # Where there is nothing to choose, nothing is drawn: the training step after it must
            # find the random state of the baseline.
            noise = torch.rand if kept < len(span) else torch.zeros
            order = noise(shape, device=pair_loss.device).argsort(dim=1, stable=True)
            picks.append(order[:, :kept].sort(dim=1).values + span.start)
        drawn = torch.cat(picks, dim=1)
        score = kept_scores(pair_loss, drawn, groups, weights)
        is_finite = score.isfinite()
        indices = torch.where(is_finite[:, None], drawn, reference.indices)
        return replace(
            reference,
            indices=indices,
            score=torch.where(is_finite, score, reference.score),
            target_choice=_target_choice(indices, groups),
        )


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


def _target_choice(indices: Tensor, groups: ViewGroups) -> Tensor:
    """(B,) position of each sample's kept targets in ``groups.target_combinations()``."""
    combinations = index_tensor(groups.target_combinations(), indices.device)
    kept = indices[:, None, : groups.num_kept_targets]
    # (B, 1, kept targets) == (C, kept targets) -> (B, C), true at exactly one c
    return (kept == combinations).all(-1).int().argmax(1)


#: Short names of selectors in configs.
SELECTORS = {'hardest': HardestSelector, 'random': RandomSelector, 'easiest': EasiestSelector}


def build_selector(selector: str | dict[str, Any] | Selector) -> Selector:
    """Build a selector from a setting.

    Args:
        selector: ``'hardest'``, ``'random'`` or ``'easiest'``; a dict with one of these names or
            a class registered in ``TASK_UTILS`` as its ``type``, e.g.
            ``dict(type='hardest', max_comparisons=128)``; or a built selector.

    Raises:
        TypeError, ValueError: See :func:`hvs_mm.utils.registry.build_part`.
    """
    settings = {'type': selector} if isinstance(selector, str) else selector
    return build_part('selector', settings, Selector, SELECTORS, short=SELECTORS)
