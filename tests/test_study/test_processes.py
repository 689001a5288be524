"""Processes at a time, and what each of them sees."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

from hvs_mm.study import Job, limit_threads, run_jobs, slot_environments, visible_gpus

#: Notes when it began and ended, and which GPU it was given.
STAND_IN = """
import json, os, sys, time
began = time.monotonic()
open(f'{sys.argv[1]}.pid', 'w').write(str(os.getpid()))
time.sleep(float(sys.argv[2]))
note = [sys.argv[1], os.environ.get('CUDA_VISIBLE_DEVICES'), began, time.monotonic()]
open(f'{sys.argv[1]}.json', 'w').write(json.dumps(note))
sys.exit(int(sys.argv[3]))
"""


def job(folder: Path, name: str, seconds: float = 0.3, status: int = 0) -> Job:
    command = [sys.executable, '-c', STAND_IN, str(folder / name), str(seconds), str(status)]
    return Job(name, command, folder / name / 'output.log')


def notes(folder: Path) -> dict[str, tuple[str | None, float, float]]:
    found = (json.loads(path.read_text()) for path in folder.glob('*.json'))
    return {Path(name).name: (gpu, began, ended) for name, gpu, began, ended in found}


def test_every_place_has_a_gpu_of_its_own(tmp_path):
    jobs = [job(tmp_path, f'job_{number}') for number in range(5)]
    done = []
    run_jobs(jobs, slot_environments(2, ['3', 'GPU-x'], {}), lambda job, *_: done.append(job.name))
    assert sorted(done) == [one.name for one in jobs]
    found = notes(tmp_path)
    assert {gpu for gpu, _, _ in found.values()} == {'3', 'GPU-x'}
    for gpu in ('3', 'GPU-x'):
        times = sorted((began, ended) for name, began, ended in found.values() if name == gpu)
        # One after the other.
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))


def test_statuses_and_what_is_not_needed(tmp_path):
    jobs = [job(tmp_path, f'job_{n}', 0, status) for n, status in enumerate([0, 3, 0])]
    done = {}
    run_jobs(
        jobs,
        [{}],
        lambda job, status, seconds: done.update({job.name: status}),
        lambda job: job.name != 'job_2',
    )
    assert done == {'job_0': 0, 'job_1': 3}


def test_all_end_when_one_cannot_be_noted(tmp_path):
    class Interrupt(KeyboardInterrupt):
        pass

    def interrupt(*_):
        while not (tmp_path / 'long.pid').exists() or not (tmp_path / 'long.pid').read_text():
            time.sleep(0.01)
        raise Interrupt

    jobs = [job(tmp_path, 'short', 0), job(tmp_path, 'long', 600)]
    began = time.monotonic()
    try:
        run_jobs(jobs, [{}, {}], interrupt)
    except Interrupt:
        pass
    else:
        raise AssertionError
    assert time.monotonic() - began < 60
    assert not Path('/proc', (tmp_path / 'long.pid').read_text()).exists()
    assert set(notes(tmp_path)) == {'short'}


def test_what_processes_see():
    assert slot_environments(3, [], {'A': 'b'}) == [{'A': 'b'}] * 3
    given = slot_environments(3, ['0', '1'], {'A': 'b', 'CUDA_VISIBLE_DEVICES': '0,1'})
    assert [place['CUDA_VISIBLE_DEVICES'] for place in given] == ['0', '1', '0']
    assert all(place['A'] == 'b' for place in given)
    assert visible_gpus(2, {}) == ['0', '1']
    assert visible_gpus(2, {'CUDA_VISIBLE_DEVICES': '5, GPU-a'}) == ['5', 'GPU-a']
    assert visible_gpus(0, {'CUDA_VISIBLE_DEVICES': ''}) == []
    assert limit_threads({'OMP_NUM_THREADS': '8'}, 2)['OMP_NUM_THREADS'] == '2'
