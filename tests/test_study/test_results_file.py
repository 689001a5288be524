"""Lines of results that several processes write."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from hvs_mm.study import ResultsError, append_result, read_results
from tests.ranks import forkserver
from tests.studies import made_up, write_lines

#: Beyond what the system writes in one piece.
PADDING = 'x' * 100_000


def test_a_line_is_added_once(tmp_path):
    path = tmp_path / 'new' / 'results.jsonl'
    assert read_results(path) == []
    first, second = made_up('baseline', 0, 50.0), made_up('baseline', 1, 51.0)
    assert append_result(path, first)
    assert append_result(path, second)
    assert not append_result(path, {**first, 'knn': 60.0})
    assert read_results(path) == [first, second]
    # Of other settings.
    assert append_result(path, {**first, 'config_hash': 'other'})
    assert append_result(path, {**first, 'study': 'other'})
    assert len(read_results(path)) == 4


def _write_many(path: Path, own: int, barrier: multiprocessing.Barrier) -> None:
    barrier.wait()
    for seed in range(20):
        append_result(path, made_up('both', seed, 1.0, padding=PADDING))
        append_result(path, made_up(f'own_{own}', seed, 1.0, padding=PADDING))


def test_processes_neither_tear_nor_repeat_lines(tmp_path):
    path = tmp_path / 'results.jsonl'
    context = forkserver()
    barrier = context.Barrier(3, timeout=100)
    writers = [
        context.Process(target=_write_many, args=(path, n, barrier), daemon=True) for n in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    runs = [record['run'] for record in read_results(path)]
    assert len(runs) == len(set(runs)) == 4 * 20


def test_half_a_line_is_no_result(tmp_path):
    path = write_lines(tmp_path / 'x.jsonl', [made_up('baseline', 0, 50.0)])
    whole = path.read_text()
    path.write_text(whole + '{"study": "made_up", "run": "simsiam-base')
    assert len(read_results(path)) == 1
    append_result(path, made_up('baseline', 1, 51.0))
    assert path.read_text().startswith(whole)
    assert [record['seed'] for record in read_results(path)] == [0, 1]
    # Nothing but half a line.
    path.write_text('{"stu')
    append_result(path, made_up('baseline', 1, 51.0))
    assert [record['seed'] for record in read_results(path)] == [1]


def test_a_line_that_lacks_its_end_is_whole(tmp_path):
    """As editors leave it, in which someone has removed other lines."""
    kept = [made_up('baseline', seed, 50.0) for seed in (0, 1)]
    path = write_lines(tmp_path / 'x.jsonl', kept)
    path.write_text(path.read_text().rstrip('\n'))
    assert read_results(path) == kept
    assert not append_result(path, kept[1])
    another = made_up('baseline', 2, 51.0)
    assert append_result(path, another)
    assert read_results(path) == [*kept, another]
    assert path.read_text().count('\n') == 3


@pytest.mark.parametrize('line', ['x', '[]', '{"run": "a"}', '{"study": 1, "run": 2}', '[' * 9999])
def test_other_files_are_refused(tmp_path, line):
    path = write_lines(tmp_path / 'x.jsonl', [made_up('baseline', 0, 50.0)])
    path.write_text(path.read_text() + line + '\n')
    with pytest.raises(ResultsError, match=r'x\.jsonl, line 2: not a result of a study'):
        read_results(path)
    before = path.read_bytes()
    with pytest.raises(ResultsError, match='line 2'):
        append_result(path, made_up('baseline', 1, 50.0))
    assert path.read_bytes() == before


def test_no_nan_is_written(tmp_path):
    path = tmp_path / 'x.jsonl'
    with pytest.raises(ValueError, match='not JSON compliant'):
        append_result(path, made_up('baseline', 0, float('nan')))
    assert not path.exists() or json.loads(path.read_text() or 'null') is None
