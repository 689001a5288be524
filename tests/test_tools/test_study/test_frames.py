"""Lines of results as rows."""

from __future__ import annotations

from hvs_study.frames import load_runs
from tests.helpers.studies import made_up, write_lines


def test_forks_at_different_epochs_are_different_arms(tmp_path):
    lines = [made_up('hardest', seed, 50.0, fork=fork) for seed in (0, 1) for fork in (0, 2, 4)]
    runs = load_runs([write_lines(tmp_path / 'lines.jsonl', lines)])
    assert runs['arm'].tolist() == ['hardest', 'hardest_f2', 'hardest_f4'] * 2
