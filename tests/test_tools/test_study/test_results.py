"""Lines of results that several processes write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvs_study.results import append_result, read_results
from hvs_study.schema import StudyError
from tests.helpers.studies import made_up, write_lines
from tests.helpers.tools import ROOT

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


#: Waits until all are there, and adds lines that others add as well, and lines of its own.
WRITER = """
import json, sys, time
from pathlib import Path
from hvs_study.results import append_result

path, own = Path(sys.argv[1]), sys.argv[2]
records = [json.loads(line) for line in Path(f'{path}.given').read_text().splitlines()]
path.with_suffix(f'.{own}').touch()
while len(list(path.parent.glob('*.writer_*'))) < 3:
    time.sleep(0.001)
for record in records:
    append_result(path, record)
    append_result(path, {**record, 'run': f'{record["run"]}-{own}'})
"""


def test_processes_neither_tear_nor_repeat_lines(tmp_path):
    path = tmp_path / 'results.jsonl'
    given = [made_up('both', seed, 1.0, padding=PADDING) for seed in range(8)]
    write_lines(Path(f'{path}.given'), given)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT / 'tools' / 'study')}
    writers = [
        subprocess.Popen([sys.executable, '-c', WRITER, path, f'writer_{n}'], env=environment)
        for n in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    runs = [record['run'] for record in read_results(path)]
    assert len(runs) == len(set(runs)) == 4 * 8


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
    with pytest.raises(StudyError, match=r'x\.jsonl, line 2: not a result of a study'):
        read_results(path)
    before = path.read_bytes()
    with pytest.raises(StudyError, match='line 2'):
        append_result(path, made_up('baseline', 1, 50.0))
    assert path.read_bytes() == before


def test_no_nan_is_written(tmp_path):
    path = tmp_path / 'x.jsonl'
    with pytest.raises(ValueError, match='not JSON compliant'):
        append_result(path, made_up('baseline', 0, float('nan')))
    assert not path.exists() or json.loads(path.read_text() or 'null') is None
