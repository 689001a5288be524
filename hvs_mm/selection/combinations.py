"""Combinations of views, by sample."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from ..utils.to_device import index_tensor
from .groups import ViewGroups


class Combinations(NamedTuple):
    """``K`` combinations of views for each of ``B`` samples.

    Attributes:
        targets: (B, K) int64, positions in ``groups.target_combinations()``.
        local: (B, K, kept) int64 for each local group, ascending positions within the group.
    """

    targets: Tensor
    local: tuple[Tensor, ...] = ()

    def take(self, positions: Tensor) -> Combinations:
        """One of the K combinations of each sample, at ``positions`` (B,), with K = 1."""
        index = positions[:, None]
        local = (one.gather(1, index[..., None].expand(-1, -1, one.shape[2])) for one in self.local)
        return Combinations(self.targets.gather(1, index), tuple(local))

    def where(self, condition: Tensor, other: Combinations) -> Combinations:
        """These combinations where ``condition`` (B,) is true, elsewhere the ``other`` ones."""
        targets = torch.where(condition[:, None], self.targets, other.targets)
        pairs = zip(self.local, other.local)
        local = (torch.where(condition[:, None, None], mine, theirs) for mine, theirs in pairs)
        return Combinations(targets, tuple(local))

    def views(self, groups: ViewGroups) -> Tensor:
        """The views (B, K, kept) int64, positions in the list of all candidates."""
        targets = index_tensor(groups.target_combinations(), self.targets.device)
        spans = groups.spans()[groups.num_target_groups :]
        local = [one + span.start for one, span in zip(self.local, spans)]
        return torch.cat([targets[self.targets], *local], dim=2)


def random_subsets(shape: tuple[int, ...], size: int, kept: int, device: torch.device) -> Tensor:
    """Draw ``kept`` out of ``size`` positions uniformly: (``shape``, kept) int64, ascending."""
    # Where there is nothing to choose, nothing is drawn: the training step after it must find the
    # random state of the baseline.
    noise = torch.rand if kept < size else torch.zeros
    # Ranks of i.i.d. numbers are a uniform permutation.
    order = noise(*shape, size, device=device).argsort(dim=-1, stable=True)
    return order[..., :kept].sort(dim=-1).values


@lru_cache(maxsize=16)
def all_subsets(size: int, kept: int, device: torch.device) -> Tensor:
    """All choices of ``kept`` out of ``size`` positions: (subsets, kept) int64, lexicographic."""
    return index_tensor(list(combinations(range(size), kept)), device)
