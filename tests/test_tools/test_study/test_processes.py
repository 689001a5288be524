"""Processes at a time, and what each of them sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hvs_study.processes import Job, job_environments, run_jobs
from tests.helpers.tools import ROOT

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

#: Runs a process that starts another one, until it is interrupted.
CALLER = """
import sys
from pathlib import Path
import pytest
from hvs_study.processes import Job, run_jobs

folder = Path(sys.argv[1])
code = 'import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)'
(folder / 'job.py').write_text(code)
try:
    run_jobs([Job('x', [str(folder / 'job.py')], folder / 'job.log')], [{}], print)
except KeyboardInterrupt:
    sys.exit(130)
"""


def job(folder: Path, name: str, seconds: float = 0.1, status: int = 0) -> Job:
    script = folder / 'stand_in.py'
    script.write_text(STAND_IN)
    command = [str(script), str(folder / name), str(seconds), str(status)]
    return Job(name, command, folder / name / 'output.log')


def notes(folder: Path) -> dict[str, tuple[str | None, float, float]]:
    found = (json.loads(path.read_text()) for path in folder.glob('*.json'))
    return {Path(name).name: (gpu, began, ended) for name, gpu, began, ended in found}


def test_every_place_has_a_gpu_of_its_own(tmp_path):
    jobs = [job(tmp_path, f'job_{number}') for number in range(5)]
    done = []
    run_jobs(
        jobs,
        job_environments(2, 1, 2, {'CUDA_VISIBLE_DEVICES': '3,GPU-x'}),
        lambda job, *_: done.append(job.name),
    )
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


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_processes(tmp_path, number):
    """With those that they have started."""
    caller = subprocess.Popen(
        [sys.executable, '-c', CALLER, tmp_path],
        env={**os.environ, 'PYTHONPATH': str(ROOT / 'tools' / 'study')},
        # What runs in the background, as these tests may, ignores it.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    log = tmp_path / 'job.log'
    while not log.exists() or log.read_text().count('\n') < 2:
        assert caller.poll() is None
        time.sleep(0.01)
    caller.send_signal(number)
    assert caller.wait(60) == 130
    for process in log.read_text().split():
        assert not is_running(process)


def is_running(process: str) -> bool:
    try:
        status = Path('/proc', process, 'stat').read_text()
    except FileNotFoundError:
        return False
    # One that nobody waits for is over, too.
    return status.rpartition(')')[2].split()[0] != 'Z'


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
    assert [place['A'] for place in job_environments(3, 2, 0, {'A': 'b'})] == ['b'] * 3

    def gpus(jobs: int, count: int, **environment: str) -> list[str | None]:
        places = job_environments(jobs, 2, count, {'OMP_NUM_THREADS': '8', **environment})
        assert all(place['OMP_NUM_THREADS'] == '2' for place in places)
        return [place.get('CUDA_VISIBLE_DEVICES') for place in places]

    assert gpus(3, 2) == ['0', '1', '0']
    assert gpus(2, 2, CUDA_VISIBLE_DEVICES='5, GPU-a') == ['5', 'GPU-a']
    assert gpus(1, 2, CUDA_VISIBLE_DEVICES='5,GPU-a') == ['5']
    assert gpus(2, 0, CUDA_VISIBLE_DEVICES='') == ['', '']
