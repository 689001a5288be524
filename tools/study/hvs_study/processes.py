"""Runs in processes of their own, several at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Exit status of a process whose run another process is making.
BUSY = 75
#: Seconds that a process has to end by itself.
_GRACE = 10
_PAUSE = 0.1
_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


@dataclass(frozen=True)
class Job:
    """A process to start; its output is appended to ``log``."""

    name: str
    command: Sequence[str]
    log: Path


def job_environments(
    jobs: int, threads: int, gpus: int, environment: Mapping[str, str]
) -> list[dict[str, str]]:
    """Environments for as many processes as run at a time; with GPUs each has one, in turn.

    ``CUDA_VISIBLE_DEVICES`` of ``environment`` may name only some GPUs of the machine; ``gpus`` is
    the number of those that are visible.
    """
    common = {**environment, **dict.fromkeys(_THREADS, str(threads))}
    named = [name.strip() for name in environment.get('CUDA_VISIBLE_DEVICES', '').split(',')]
    names = ([name for name in named if name] or [str(number) for number in range(gpus)])[:gpus]
    if not names:
        return [common] * jobs
    return [{**common, 'CUDA_VISIBLE_DEVICES': names[n % len(names)]} for n in range(jobs)]


def run_jobs(
    jobs: Iterable[Job],
    environments: Sequence[Mapping[str, str]],
    done: Callable[[Job, int, float], None],
    is_needed: Callable[[Job], bool] = lambda job: True,
) -> None:
    """Run processes in this order, as many at a time as there are environments.

    ``done`` is called with a job, its exit status and the seconds it took; ``is_needed`` right
    before a job is started. All are ended when this process is interrupted or asked to end.

    Raises:
        KeyboardInterrupt: If this process is interrupted or asked to end, after the others have.
    """
    waiting, free = filter(is_needed, jobs), list(environments)[::-1]
    running: dict[subprocess.Popen, tuple[Job, Mapping[str, str], float]] = {}
    # A closed terminal ends them as well, unless this process was started to outlive it.
    hangup = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    interrupt = signal.default_int_handler
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, *hangup)}
    try:
        while True:
            while free and (job := next(waiting, None)):
                environment = free.pop()
                running[_start(job, environment)] = (job, environment, time.monotonic())
            if not running:
                break
            for process in [process for process in running if process.poll() is not None]:
                job, environment, started = running.pop(process)
                free.append(environment)
                done(job, process.returncode, time.monotonic() - started)
            time.sleep(_PAUSE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end(list(running))


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    # Ctrl-C reaches this process alone, which ends the others: theirs is another session.
    options = {'env': dict(environment), 'stdin': subprocess.DEVNULL, 'start_new_session': True}
    with open(job.log, 'ab') as log:
        return subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, **options)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    """End processes with those that they have started, such as workers of a loader."""
    for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        for process in processes:
            # It may end between the two.
            with suppress(ProcessLookupError):
                if process.poll() is None:
                    os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(grace)
