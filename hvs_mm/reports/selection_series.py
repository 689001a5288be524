"""The statistics of the selection over a run, from the entries of ``SelectionStatsHook``."""

from __future__ import annotations

from collections import defaultdict
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

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean of a statistic; None where it is not known."""
        mean = self.means[name]
        if name in ('lowest_iou', 'strongest_color'):
            return wilson_interval(mean, self.images)
        error = self.gap_error(name.removesuffix('_gap')) if name.endswith('_gap') else None
        return None if error is None else (mean - error, mean + error)


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of ``number`` independent samples (Wilson, 1927)."""
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
        position = record.position if run.config.by_epoch else record.iteration
        entries.setdefault(position, []).append(record)
    periods = (_join(position, records) for position, records in sorted(entries.items()))
    return [period for period in periods if period is not None]


def _join(position: int, records: Iterable[TrainRecord]) -> Period | None:
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    images = scored = 0
    for record in records:
        logged = {
            name.removeprefix(_PREFIX): number(value)
            for name, value in record.scalars.items()
            if name.startswith(_PREFIX)
        }
        found = {name: value for name, value in logged.items() if value is not None}
        count = found.pop('images', 0)
        finite = found.pop('score_gap_images', count)
        if not count > 0:
            continue
        images += int(count)
        scored += int(finite)
        for name, value in found.items():
            weight = finite if name.startswith('score_gap') else count
            mean = found.get(name.removesuffix('_std'))
            if not weight or mean is None:
                continue
            # Mean squares can be averaged, deviations cannot.
            sums[name] += weight * (value**2 + mean**2 if name.endswith('_std') else value)
            weights[name] += weight
    if not images:
        return None
    means = {name: total / weights[name] for name, total in sums.items()}
    for name, square in means.items():
        if name.endswith('_std'):
            means[name] = sqrt(max(square - means[name.removesuffix('_std')] ** 2, 0.0))
    return Period(position, images, means, scored)
