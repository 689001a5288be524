"""Planned comparisons: corrected tests, and how many seeds they need."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from hvs_study.decisions import decisions_table, holm, needed_seeds, power_table
from hvs_study.frames import load_runs
from tests.helpers.studies import made_up, write_lines

RANDOM = np.random.default_rng(5)
PAIRS = [dict(arm='hardest', minus='baseline')]


def runs_of(tmp_path, *records: dict[str, Any]) -> pd.DataFrame:
    runs = load_runs([write_lines(tmp_path / 'x.jsonl', list(records))])
    return runs.assign(**{name: pd.Categorical(runs[name]) for name in ('method', 'arm')})


def rows_of(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith('|')][2:]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


@pytest.mark.parametrize('number', [1, 2, 5])
def test_holm_against_closed_testing(number):
    """The largest of Bonferroni's p values over all sets of hypotheses that a test belongs to."""
    chances = RANDOM.uniform(0, 0.3, number)
    for index, found in enumerate(holm(chances)):
        others = [other for other in range(number) if other != index]
        sets = [one for size in range(number) for one in combinations(others, size)]
        wanted = max(min(1, (len(s) + 1) * min(chances[[index, *s]])) for s in sets)
        assert found == pytest.approx(wanted)


def test_decisions_against_scipy(tmp_path):
    values = {
        method: RANDOM.normal([[60], [60 + gain]], 1, (2, 6))
        for method, gain in (('dino', 0.0), ('simclr', 4.0))
    }
    lines = [
        made_up(arm, seed, knn, method=method)
        for method, both in values.items()
        for arm, row in zip(('baseline', 'hardest'), both)
        for seed, knn in enumerate(row)
    ]
    table = decisions_table(runs_of(tmp_path, *lines), PAIRS)
    rows = {row[0]: row for row in rows_of(table)}
    p = {method: ttest_rel(both[1], both[0]).pvalue for method, both in values.items()}
    assert {method: row[4] for method, row in rows.items()} == {m: f'{v:.4f}' for m, v in p.items()}
    assert rows['simclr'][5] == f'{2 * p["simclr"]:.4f}'
    assert [rows[method][6] for method in ('dino', 'simclr')] == ['', 'yes']
    assert 'Note: 1 of 2 comparisons are decided.' in table


def test_the_mean_over_epochs_begins_after_the_fork(tmp_path):
    """Epochs 2 and 3 of a baseline that forks after epoch 1; epoch 3 was not evaluated."""

    def forked(arm: str, seed: int, *knn: float | None) -> dict[str, Any]:
        record = made_up(arm, seed, 50.0, fork=1)
        record['curve']['knn'] = [20.0, 30.0, *knn]
        return record

    lines = [
        *(forked('baseline', seed, 40.0, 50.0) for seed in (0, 1)),
        *(forked('hardest', seed, 41.0 + seed, None) for seed in (0, 1)),
    ]
    pairs = [dict(arm='hardest_f1', minus='baseline_f1')]
    (row,) = rows_of(decisions_table(runs_of(tmp_path, *lines), pairs, outcome='mean_knn'))
    assert row[3].startswith('-3.50 (')
    # The same accuracies decide nothing, nor does a single seed.
    (row,) = rows_of(decisions_table(runs_of(tmp_path, *lines), pairs))
    assert row[2:] == ['2', '+0.00 (+0.00 to +0.00)', '1.0000', '1.0000', '']
    (row,) = rows_of(decisions_table(runs_of(tmp_path, lines[0], lines[2]), pairs))
    assert row[2:] == ['1', '+0.00 (-)', '1.0000', '1.0000', '']


def test_fewer_seeds_than_planned_are_told(tmp_path):
    lines = [made_up(arm, 0, 60.0, planned_seeds=6) for arm in ('baseline', 'hardest')]
    for table in (decisions_table, power_table):
        assert 'simsiam baseline (1 of 6), simsiam hardest (1 of 6)' in table(
            runs_of(tmp_path, *lines), PAIRS
        )


def test_power(tmp_path):
    """Differences of 1, 3 and 5 points between arms that agree on the order of the seeds."""
    arms = {'baseline': (60.0, 62.0, 64.0), 'hardest': (61.0, 65.0, 69.0)}
    lines = [made_up(arm, seed, knn) for arm, row in arms.items() for seed, knn in enumerate(row)]
    rows = rows_of(power_table(runs_of(tmp_path, *lines), PAIRS, points=2.0))
    title = ['simsiam', 'hardest - baseline']
    assert rows[:2] == [[*title, name, '3', '2.00', '1.00', '10'] for name in ('linear', 'k-NN')]
    # Means of thirds, of two thirds and of all of the gain.
    assert rows[2] == [*title, 'mean k-NN', '3', '1.33', '1.00', '6']
    (row, *_) = rows_of(power_table(runs_of(tmp_path, lines[0], lines[3]), PAIRS))
    assert row[3:] == ['1', '-', '-', '-']


@pytest.mark.parametrize(('effect', 'expected'), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_needed_seeds(effect, expected):
    """As G*Power 3.1 says for the difference of two dependent means, two tails."""
    assert needed_seeds(effect, 1.0) == expected
    assert needed_seeds(1.0, 0.0) == 2
