"""The statistics of the selection over a run, from the entries of ``SelectionStatsHook``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from .run import Run
from .run_log import TrainRecord, number

_PREFIX = 'selection/'
#: 95 % of a normal distribution lie within so many standard deviations.
_Z = 1.96


@dataclass(frozen=True)
class Period:
    """Statistics of an epoch, or of a log entry of a run without epochs.

    Attributes:
        position: The epoch, or the iteration, that it ended with.
        images: Number of images.
        means: Mean over the images of each statistic, under the hook's names.
        scored: Number of images with a finite score, over which ``score_gap`` is averaged.
    """

    position: int
    images: int
    means: dict[str, float]
    scored: int

    def gap_error(self, name: str) -> float | None:
        """Half the width of the 95 % confidence interval of ``iou_gap`` or ``score_gap``."""
        deviation = self.means.get(f'{name}_gap_std')
        count = self.scored if name == 'score' else self.images
        return None if deviation is None else _Z * deviation / sqrt(count)

    def share_interval(self, name: str) -> tuple[float, float] | None:
        """Wilson's 95 % confidence interval of a share of images, such as ``lowest_iou``."""
        share = self.means.get(name)
        return None if share is None else wilson_interval(share, self.images)


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of independent samples (Wilson, 1927).

    Args:
        share: From 0 to 1.
        number: Number of samples.
    """
    scale = 1 + _Z**2 / number
    middle = (share + _Z**2 / (2 * number)) / scale
    half = _Z * sqrt(share * (1 - share) / number + _Z**2 / (4 * number**2)) / scale
    return max(middle - half, 0.0), min(middle + half, 1.0)


def selection_series(run: Run) -> list[Period]:
    """The statistics of a run in order; empty if none were logged.

    The entries of an epoch are averaged, weighted by their numbers of images.
    """
    entries: dict[int, list[TrainRecord]] = {}
    for record in run.log.selection:
        use_epoch = run.config.by_epoch and record.epoch is not None
        position = record.epoch if use_epoch else record.iteration
        entries.setdefault(position, []).append(record)
    periods = (_join(position, records) for position, records in sorted(entries.items()))
    return [period for period in periods if period is not None]


def _join(position: int, records: Iterable[TrainRecord]) -> Period | None:
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    images = scored = 0
    for record in records:
        count = number(record.scalars.get(f'{_PREFIX}images'))
        if not count or count < 0:
            continue
        images += int(count)
        finite = number(record.scalars.get(f'{_PREFIX}score_gap_images', count)) or 0
        scored += int(finite)
        for name, value in _with_squares(record).items():
            weight = finite if name.startswith('score_gap') else count
            if weight:
                sums[name] = sums.get(name, 0.0) + weight * value
                weights[name] = weights.get(name, 0) + weight
    if not images:
        return None
    means = {name: total / weights[name] for name, total in sums.items()}
    for name in ('iou', 'score'):
        square = means.pop(f'{name}_gap_square', None)
        if square is not None and f'{name}_gap' in means:
            means[f'{name}_gap_std'] = sqrt(max(square - means[f'{name}_gap'] ** 2, 0.0))
    return Period(position, images, means, scored)


def _with_squares(record: TrainRecord) -> dict[str, float]:
    """The numbers of an entry, with mean squares, which can be averaged, for deviations."""
    found = {
        name.removeprefix(_PREFIX): value
        for name, value in record.scalars.items()
        if name.startswith(_PREFIX) and not name.endswith('images') and number(value) is not None
    }
    for name in ('iou', 'score'):
        deviation = found.pop(f'{name}_gap_std', None)
        if deviation is not None and f'{name}_gap' in found:
            found[f'{name}_gap_square'] = deviation**2 + found[f'{name}_gap'] ** 2
    return found
