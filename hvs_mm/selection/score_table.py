"""The scores of all combinations of a batch, without a list of them.

For fixed target views the local part of a score is a sum of independent terms. So a few small
tensors hold all scores, and extremes, moments and draws come from them at little cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import comb, prod
from typing import NamedTuple

import torch
from torch import Tensor

from ..utils.to_device import index_tensor, to_device
from .combinations import Combinations, all_subsets, random_subsets
from .groups import ViewGroups
from .scores import ScoreWeights, cross_sums, diagonal_means, is_finite, rank_key

#: Up to this many combinations are listed where a rule needs all of them; DINO has 51,480.
MAX_LISTED = 2**17


class Moments(NamedTuple):
    """Moments over the finite scores of all combinations of a sample, each (B,).

    Attributes:
        mean: NaN where no score is finite.
        std: Standard deviation over all of them, likewise.
        nonfinite: Share of NaN or infinite scores.
    """

    mean: Tensor
    std: Tensor
    nonfinite: Tensor


@dataclass(frozen=True)
class ScoreTable:
    """All scores of ``B`` samples with ``C`` choices of target views.

    With the views ``K_g`` of the local groups ``g`` the score of choice ``c`` is::

        scale * (cross[b, c] + sum over g and over l in K_g of local[g][b, c, l]) + diagonal[b, c]

    Attributes:
        cross: (B, C) sum of the losses between the target views.
        local: (B, C, n) for each local group of n views: the sum of a view's losses to the targets.
        keep: Views kept of each local group.
        kept_targets: Target views of a choice.
        scale: Weight of a loss in the score, positive or zero.
        diagonal: (B, C), or zero.
    """

    cross: Tensor
    local: tuple[Tensor, ...] = ()
    keep: Sequence[int] = ()
    kept_targets: int = 1
    scale: float = 1.0
    diagonal: Tensor | float = 0.0

    @staticmethod
    def of(
        pair_loss: Tensor, groups: ViewGroups, weights: ScoreWeights = ScoreWeights()
    ) -> ScoreTable:
        """The table for pair losses (B, T, S).

        Raises:
            ValueError: If they do not have the T target and S candidate views of ``groups``.
        """
        if pair_loss.ndim != 3 or pair_loss.shape[1:] != (groups.num_targets, groups.num_views):
            raise ValueError(
                f'pair_loss has shape {tuple(pair_loss.shape)}, expected (B, {groups.num_targets}, '
                f'{groups.num_views}) for candidates={list(groups.candidates)} of which the first '
                f'{groups.num_target_groups} group(s) are targets.'
            )
        targets = groups.target_combinations()
        # (C, kept targets)
        index = index_tensor(targets, pair_loss.device)
        spans = groups.spans()[groups.num_target_groups :]
        return ScoreTable(
            cross=cross_sums(pair_loss, targets, groups.num_kept_targets),
            # (B, C, kept targets, n) -> (B, C, n)
            local=tuple(pair_loss[:, index, span.start : span.stop].sum(2) for span in spans),
            keep=groups.keep[groups.num_target_groups :],
            kept_targets=groups.num_kept_targets,
            scale=weights.cross / groups.num_cross_terms,
            diagonal=weights.diagonal * diagonal_means(pair_loss, targets)
            if weights.diagonal
            else 0.0,
        )

    @property
    def num_combinations(self) -> int:
        """The number of combinations of a sample."""
        subsets = [comb(local.shape[2], kept) for local, kept in zip(self.local, self.keep)]
        return self.cross.shape[1] * prod(subsets)

    def scores(self, chosen: Combinations) -> Tensor:
        """The scores (B, K) of a choice."""
        sums = self.cross.gather(1, chosen.targets)
        for local, picks in zip(self.local, chosen.local):
            # (B, C, n) -> (B, C * n), gathered at (K, kept)
            flat = chosen.targets[..., None] * local.shape[2] + picks
            terms = local.flatten(1).gather(1, flat.flatten(1)).unflatten(1, picks.shape[1:])
            sums = sums + terms.sum(2)
        diagonal = self.diagonal
        if isinstance(diagonal, Tensor):
            diagonal = diagonal.gather(1, chosen.targets)
        return self.scale * sums + diagonal

    def extreme(self, sign: int) -> Combinations:
        """The combination (K = 1) with the highest score, or the lowest for ``sign`` -1.

        Exact, for one sort per local group: the best local views are the top ones of their terms.
        A NaN or infinite score never wins over a finite one. Ties go to the combination that comes
        first in lexicographic order, that is to the lowest index.
        """
        picks = []
        for local, kept in zip(self.local, self.keep):
            order = rank_key(local, sign).sort(dim=-1, descending=True, stable=True).indices
            picks.append(order[..., :kept].sort(-1).values)
        batch, choices = self.cross.shape
        targets = torch.arange(choices, device=self.cross.device).expand(batch, -1)
        best = Combinations(targets, tuple(picks))
        # torch.argmax returns the first of equal values.
        return best.take(rank_key(self.scores(best), sign).argmax(1))

    def moments(self) -> Moments:
        """Moments over all combinations, exact also where some scores are not finite."""
        mean, variance, share = self._target_moments()
        # The number of combinations that each choice of targets stands for.
        weight = share / share.sum(1, keepdim=True)
        center = (weight * mean.nan_to_num()).sum(1, keepdim=True)
        spread = torch.where(share > 0, variance + (mean - center).square(), 0)
        return Moments(center[:, 0], (weight * spread).sum(1).sqrt(), 1 - share.mean(1))

    def of_targets(self) -> ScoreTable:
        """A table of the target views alone: mean scores over all choices of local views."""
        return ScoreTable(self._target_moments()[0])

    def of_local(self, chosen: Combinations) -> list[ScoreTable]:
        """A table for each local group alone, given the target views of a choice (K = 1).

        Its scores are means over pairs with these, as those of the whole table are over all pairs.
        """
        tables, terms = [], self.kept_targets - 1 + sum(self.keep)
        for local, kept in zip(self.local, self.keep):
            index = chosen.targets[..., None].expand(-1, -1, local.shape[2])
            none = local.new_zeros(len(local), 1)
            part = local.gather(1, index)
            tables.append(
                replace(
                    self,
                    cross=none,
                    local=(part,),
                    keep=(kept,),
                    diagonal=0.0,
                    scale=self.scale * terms / kept,
                )
            )
        return tables

    def _target_moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of the scores with each choice of targets, and their finite share.

        All (B, C), over the finite ones; the mean is NaN where there is none.
        """
        mean, variance = self.cross, torch.zeros_like(self.cross)
        share: Tensor | float = 1.0
        for local, kept in zip(self.local, self.keep):
            size = local.shape[2]
            finite = is_finite(local)
            count = finite.sum(2)
            center = torch.where(finite, local, 0).sum(2) / count
            deviation = torch.where(finite, local - center[..., None], 0)
            spread = deviation.square().sum(2) / count
            mean = mean + kept * center
            # The sum of `kept` out of `count` numbers, drawn without replacement.
            variance = variance + spread * kept * (count - kept) / (count - 1).clamp(min=1)
            shares = [comb(finite, kept) / comb(size, kept) for finite in range(size + 1)]
            share = share * to_device(torch.tensor(shares, dtype=mean.dtype), mean.device)[count]
        mean = self.scale * mean + self.diagonal
        share = share * is_finite(mean).to(mean.dtype)
        return mean.where(share > 0, torch.nan), self.scale**2 * variance, share

    @torch.compiler.disable
    def draw(self, count: int, shared: bool = False) -> Combinations:
        """Draw K = ``count`` combinations uniformly at random, for each sample or ``shared``.

        Distinct ones in lexicographic order, if there are at most :data:`MAX_LISTED`; otherwise
        independent ones, of which hardly any are equal. From torch's generator of the device.
        """
        (batch, choices), device = self.cross.shape, self.cross.device
        rows, total = 1 if shared else batch, self.num_combinations
        if count > 1 and total <= MAX_LISTED:
            # In double precision no two numbers are equal.
            noise = torch.rand(rows, total, dtype=torch.float64, device=device)
            drawn = self.numbered(noise.topk(count).indices.sort(1).values)
        else:
            targets = random_subsets((rows, count), choices, 1, device)[..., 0]
            drawn = Combinations(
                targets,
                tuple(
                    random_subsets((rows, count), local.shape[2], kept, device)
                    for local, kept in zip(self.local, self.keep)
                ),
            )
        local = (one.expand(batch, -1, -1) for one in drawn.local)
        return Combinations(drawn.targets.expand(batch, -1), tuple(local))

    @torch.compiler.disable
    def numbered(self, numbers: Tensor) -> Combinations:
        """The combinations with ``numbers`` (B, K) int64 in lexicographic order, from 0."""
        picks: list[Tensor] = []
        for local, kept in zip(reversed(self.local), reversed(self.keep)):
            subsets = all_subsets(local.shape[2], kept, numbers.device)
            picks.insert(0, subsets[numbers % len(subsets)])
            numbers = numbers // len(subsets)
        return Combinations(numbers, tuple(picks))

    @torch.compiler.disable
    def listed(self) -> Tensor:
        """The scores (B, N) of all N combinations, in lexicographic order.

        For up to :data:`MAX_LISTED` combinations.
        """
        sums = self.cross[..., None]
        for local, kept in zip(self.local, self.keep):
            subsets = all_subsets(local.shape[2], kept, local.device)
            # (B, C, n) -> (B, C, subsets). Not a matrix product: TF32 would change the order.
            part = reduce(torch.add, (local[..., column] for column in subsets.unbind(1)))
            # (B, C, N so far, subsets) -> (B, C, N)
            sums = (sums[..., None] + part[:, :, None]).flatten(2)
        diagonal = self.diagonal
        if isinstance(diagonal, Tensor):
            diagonal = diagonal[..., None]
        return (self.scale * sums + diagonal).flatten(1)
