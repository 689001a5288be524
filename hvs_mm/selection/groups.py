"""Groups of candidate views: how many are drawn and how many are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, lgamma, log, prod

from ..utils.arguments import is_list, is_whole

#: Most choices of target views, each of which is scored; choices of local views are not listed.
MAX_TARGET_CHOICES = 2**17


def _counts(name: str, value: Sequence[int]) -> tuple[int, ...]:
    if not is_list(value):
        raise TypeError(f'{name}={value!r} must be a list of integers, one per view pipeline.')
    if not value:
        raise ValueError(f'{name}=[] is empty: give one positive integer per view pipeline.')
    for number in value:
        if not is_whole(number, 1):
            raise ValueError(f'{name}={list(value)} must hold positive integers, got {number!r}.')
    return tuple(value)


@dataclass(frozen=True)
class ViewGroups:
    """The admissible combinations: exactly ``keep[g]`` views of each group ``g`` are kept.

    One group stands for one augmentation pipeline, unless the loader draws the views of a group by
    several. The views of all groups form one list, group after group. The first groups are the
    *target* groups: their views serve as targets of the pair loss (full-size crops), the views of
    the others only as online views (local crops).

    Args:
        candidates: Views drawn per group; stored as a tuple, as ``keep`` is.
        keep: Views kept per group, at most ``candidates`` of the same group.
        num_target_groups: How many of the first groups are target groups.

    Raises:
        TypeError: If an argument is not a sequence of integers.
        ValueError: If the lengths differ, a group keeps more views than it has, fewer than two
            views are kept in all, or there are more than :data:`MAX_TARGET_CHOICES` choices of
            target views.
    """

    candidates: Sequence[int]
    keep: Sequence[int]
    num_target_groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, 'candidates', _counts('candidates', self.candidates))
        object.__setattr__(self, 'keep', _counts('keep', self.keep))
        if len(self.candidates) != len(self.keep):
            raise ValueError(
                f'candidates={list(self.candidates)} and keep={list(self.keep)} must have the same '
                'length: one number per view pipeline in each.'
            )
        for group, (drawn, kept) in enumerate(zip(self.candidates, self.keep)):
            if kept > drawn:
                raise ValueError(
                    f'keep={list(self.keep)} keeps {kept} views of group {group}, which has only '
                    f'{drawn} (candidates={list(self.candidates)}). Lower keep[{group}] or raise '
                    f'candidates[{group}].'
                )
        if not 1 <= self.num_target_groups <= len(self.candidates):
            raise ValueError(
                f'num_target_groups={self.num_target_groups} must be between 1 and the number of '
                f'groups, {len(self.candidates)}.'
            )
        if sum(self.keep) < 2:
            raise ValueError(
                f'keep={list(self.keep)} keeps a single view: a pair loss needs at least two.'
            )
        self._check_target_choices()

    def _check_target_choices(self) -> None:
        targets = list(zip(self.candidates, self.keep))[: self.num_target_groups]
        # Lists, not generators: torch.compile looks into this, too.
        # By logarithms: the numbers themselves may have more digits than there is memory.
        exponent = sum([lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for n, k in targets])
        exponent /= log(10)
        number = f'about 10^{exponent:.0f}'
        if exponent < 12:
            exact = prod([comb(n, k) for n, k in targets])
            if exact <= MAX_TARGET_CHOICES:
                return
            number = f'{exact:,}'
        raise ValueError(
            f'candidates={list(self.candidates)} and keep={list(self.keep)}: the first '
            f'{self.num_target_groups} group(s), which are targets, have {number} combinations, '
            f'and at most {MAX_TARGET_CHOICES:,} can be compared. Draw or keep fewer views of '
            'them; further groups may have any number.'
        )

    @property
    def num_views(self) -> int:
        """Candidate views per image, ``S``."""
        return sum(self.candidates)

    @property
    def num_kept(self) -> int:
        """Kept views per image."""
        return sum(self.keep)

    @property
    def num_targets(self) -> int:
        """Candidate views in target groups, ``T``."""
        return sum(self.candidates[: self.num_target_groups])

    @property
    def num_kept_targets(self) -> int:
        """Kept views in target groups."""
        return sum(self.keep[: self.num_target_groups])

    @property
    def num_cross_terms(self) -> int:
        """Pairs of a target and another view in a combination."""
        return self.num_kept_targets * (self.num_kept - 1)

    def spans(self) -> list[range]:
        """The positions of each group's views in the list of all candidates."""
        starts = [sum(self.candidates[:group]) for group in range(len(self.candidates))]
        return [range(start, start + n) for start, n in zip(starts, self.candidates)]

    def first_views(self) -> list[int]:
        """Positions of the first ``keep[g]`` candidates of every group ``g``."""
        return [view for span, kept in zip(self.spans(), self.keep) for view in span[:kept]]

    def num_combinations(self) -> int:
        """The number of admissible combinations."""
        return prod(comb(n, k) for n, k in zip(self.candidates, self.keep))

    def target_combinations(self) -> list[tuple[int, ...]]:
        """All choices of ``num_kept_targets`` target views, in lexicographic order.

        With one group of 4 of which 2 are kept: (0, 1), (0, 2), ... (2, 3).
        """
        targets = list(zip(self.spans(), self.keep))[: self.num_target_groups]
        picks = product(*(combinations(span, k) for span, k in targets))
        return [tuple(view for group in pick for view in group) for pick in picks]
