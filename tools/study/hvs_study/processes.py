"""Runs in processes of their own, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path

#: Exit status of a process whose run another process is making.
BUSY = 75
#: Seconds that a process has to end by itself.
_GRACE = 10
_PAUSE = 0.1
_THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


@dataclass(frozen=True)
class Job:
    """A Python script to run, with its arguments; its output is appended to ``log``."""

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
    preloaded: Sequence[str] = (),
) -> None:
    """Run processes in this order, as many at a time as there are environments.

    ``done`` is called with a job, its exit status and the seconds it took; ``is_needed`` right
    before a job is started. Processes are forked from one that has imported the modules
    ``preloaded``, which may take longer than a short job. All are ended when this process is
    interrupted or asked to end.

    Raises:
        KeyboardInterrupt: If this process is interrupted or asked to end, after the others have.
    """
    waiting, free = filter(is_needed, jobs), list(environments)[::-1]
    running: dict[BaseProcess, tuple[Job, Mapping[str, str], float]] = {}
    # A closed terminal ends them as well, unless this process was started to outlive it.
    hangup = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    interrupt = signal.default_int_handler
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, *hangup)}
    try:
        while True:
            while free and (job := next(waiting, None)):
                environment = free.pop()
                running[_start(job, environment, preloaded)] = (job, environment, time.monotonic())
            if not running:
                break
            for process in [process for process in running if process.exitcode is not None]:
                job, environment, started = running.pop(process)
                free.append(environment)
                done(job, process.exitcode, time.monotonic() - started)
            time.sleep(_PAUSE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end(list(running))


def _start(job: Job, environment: Mapping[str, str], preloaded: Sequence[str]) -> BaseProcess:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    _start_server(environment, preloaded)
    context = multiprocessing.get_context('forkserver')
    process = context.Process(target=_run, args=(job, dict(environment)))
    process.start()
    return process


def _start_server(environment: Mapping[str, str], preloaded: Sequence[str]) -> None:
    """Start the process that others are forked from, unless it runs.

    A fork of this process could inherit locks and threads.
    """
    multiprocessing.set_forkserver_preload(list(preloaded))
    before = dict(os.environ)
    # Libraries read their numbers of threads when they are imported.
    os.environ.update(environment, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    try:
        ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(job: Job, environment: Mapping[str, str]) -> None:
    """Run a script, in a process that was forked for it."""
    # Ctrl-C reaches the first process alone, which ends the others: theirs is another session.
    os.setsid()
    with open(os.devnull, 'rb') as nothing, open(job.log, 'ab') as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(job.command)
    sys.path.insert(0, os.path.dirname(job.command[0]))
    runpy.run_path(job.command[0], run_name='__main__')


def _end(processes: Sequence[BaseProcess]) -> None:
    """End processes with those that they have started, such as workers of a loader."""
    for number, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        for process in processes:
            # It may end between the two.
            with suppress(ProcessLookupError):
                if process.exitcode is None:
                    os.killpg(process.pid, number)
        deadline = None if grace is None else time.monotonic() + grace
        for process in processes:
            process.join(None if deadline is None else max(deadline - time.monotonic(), 0))
