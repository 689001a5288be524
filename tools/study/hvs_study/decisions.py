"""What a planned comparison decides, and how many seeds it needs for that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pandas as pd
from scipy import stats

from .frames import mean_knn
from .tables import (
    LEVEL,
    compared,
    lacking_seeds,
    markdown_table,
    paired_difference,
    signed_text,
)

#: What runs are compared by, and its name in a table.
OUTCOMES = {'linear': 'linear', 'knn': 'k-NN', 'mean_knn': 'mean k-NN'}


def decisions_table(
    runs: pd.DataFrame, pairs: Sequence[dict[str, Any]], outcome: str = 'linear'
) -> str:
    """Paired t tests of all pairs, with Holm's correction for their number.

    ``pairs`` as for :func:`hvs_study.tables.differences_table`. A comparison is decided if its
    corrected p is at most 5 %, which happens by chance to any of them in 5 % of such tables.
    """
    runs, notes, rows, chances = _with_outcomes(runs), lacking_seeds(runs), [], []
    for method, title, _, first, second in compared(runs, pairs, notes):
        difference, _ = paired_difference(first[outcome], second[outcome])
        rows.append([method, title, len(difference), signed_text(difference)])
        # Arms that choose the same views have no difference, and no t.
        is_testable = len(difference) > 1 and difference.any()
        chances.append(stats.ttest_1samp(difference, 0).pvalue if is_testable else 1.0)
    corrected = holm(chances)
    decided = [p <= 1 - LEVEL for p in corrected]
    for row, chance, p, is_decided in zip(rows, chances, corrected, decided):
        row += [f'{chance:.4f}', f'{p:.4f}', 'yes' if is_decided else '']
    columns = ['method', 'difference', 'seeds', f'{OUTCOMES[outcome]} points']
    notes.append(f'{sum(decided)} of {len(rows)} comparisons are decided.')
    return markdown_table(pd.DataFrame(rows, columns=[*columns, 'p', 'p, Holm', 'decided']), notes)


def power_table(runs: pd.DataFrame, pairs: Sequence[dict[str, Any]], points: float = 1.0) -> str:
    """Deviations of paired differences, and how many seeds see so many points in nearly all cases.

    The correlation of both arms over the seeds tells what pairing is worth: at 0 nothing. ``pairs``
    as for :func:`hvs_study.tables.differences_table`; see :func:`needed_seeds`.
    """
    runs, notes, rows = _with_outcomes(runs), lacking_seeds(runs), []
    for method, title, _, first, second in compared(runs, pairs, notes):
        for name, shown in OUTCOMES.items():
            difference, _ = paired_difference(first[name], second[name])
            row = [method, title, shown, len(difference), '-', '-', '-']
            if len(difference) > 1:
                deviation, correlation = difference.std(), first[name].corr(second[name])
                row[4:] = f'{deviation:.2f}', f'{correlation:.2f}', needed_seeds(points, deviation)
            rows.append(row)
    columns = ['method', 'difference', 'outcome', 'seeds', 'deviation', 'correlation']
    return markdown_table(pd.DataFrame(rows, columns=[*columns, 'seeds needed']), notes)


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's corrected p values, in the order given.

    The smallest of n is multiplied by n, the next by n - 1, and so on; none is below one before
    (S. Holm, A simple sequentially rejective multiple test procedure, 1979).
    """
    corrected, least = [0.0] * len(chances), 0.0
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    for rank, index in enumerate(order):
        least = max(least, min((len(chances) - rank) * float(chances[index]), 1.0))
        corrected[index] = least
    return corrected


def needed_seeds(points: float, deviation: float, power: float = 0.8) -> int:
    """The fewest pairs with which a two-sided t test at 5 % sees a difference.

    Args:
        points: The true mean of the differences.
        deviation: Their standard deviation, over pairs.
        power: The probability to see it.
    """
    # With a normal distribution instead of Student's t fewer would do.
    normal = stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(power)
    for number in count(max(int((normal * deviation / points) ** 2), 2)):
        bound = stats.t.ppf((1 + LEVEL) / 2, number - 1)
        shift = points * number**0.5 / max(deviation, 1e-9)
        if stats.nct.sf(bound, number - 1, shift) >= power:
            break
    return number


def _with_outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(mean_knn=mean_knn(runs))
