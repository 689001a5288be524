"""The record of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .groups import ViewGroups

#: With more combinations of target views, their shares would flood the log line.
MAX_LOGGED_COMBINATIONS = 28


@dataclass(frozen=True)
class Selection:
    """The kept views of a batch and the numbers they were chosen by.

    ``B`` samples, ``T`` target views, ``S`` candidate views, ``C`` combinations of target views.

    Attributes:
        indices: (B, kept) int64, positions in the list of candidates, group after group and
            ascending within a group.
        score: (B,) score of the kept combination. Not finite only where the sample has no finite
            combination at all.
        pair_loss: (B, T, S) the tensor the scores were formed from.
        mean_score: (B,) mean over the finite scores of all combinations, whichever the selector
            has compared.
        hardest_score: (B,) the highest finite score of all combinations.
        target_choice: (B,) int64, which of ``groups.target_combinations()`` was kept.
        nonfinite: (B,) float, share of NaN or infinite scores in those of all combinations.
        groups: The groups the views come in.
        samples: (B,) int64, the positions in a larger batch of the samples that were selected for;
            ``None`` if these are the batch.
    """

    indices: Tensor
    score: Tensor
    pair_loss: Tensor
    mean_score: Tensor
    hardest_score: Tensor
    target_choice: Tensor
    nonfinite: Tensor
    groups: ViewGroups
    samples: Tensor | None = None

    def hardness(self) -> Tensor:
        """The realized hardness (B,): ``(score - mean_score) / (hardest_score - mean_score)``.

        1 for the hardest combination, 0 on average for a random one, negative for easy ones. NaN
        where the scores of all combinations are equal, or none is finite.
        """
        gap = self.hardest_score - self.mean_score
        # Equal scores have a gap of rounding errors.
        rounding = 8 * torch.finfo(gap.dtype).eps * self.hardest_score.abs()
        return ((self.score - self.mean_score) / gap).where(gap > rounding, torch.nan)

    def choice_shares(self) -> Tensor:
        """Share (C,), float32, of each of ``groups.target_combinations()`` in the kept ones."""
        num_choices = len(self.groups.target_combinations())
        # (B, 1) == (C,) -> (B, C); unlike bincount this needs no device synchronization.
        choices = torch.arange(num_choices, device=self.indices.device)
        return (self.target_choice[:, None] == choices).float().mean(0)


def join_selections(selections: Sequence[Selection]) -> Selection:
    """Join the records of several batches with the same groups, without ``samples``."""
    names = [field.name for field in fields(Selection) if field.name not in ('groups', 'samples')]
    joined = {name: torch.cat([getattr(s, name) for s in selections]) for name in names}
    return Selection(**joined, groups=selections[0].groups)
