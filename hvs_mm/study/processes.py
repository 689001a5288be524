"""Runs in processes of their own, several at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Of a process whose run another process is making.
BUSY = 75
#: Seconds that a process has to end by itself.
_GRACE = 10
_PAUSE = 0.1


@dataclass(frozen=True)
class Job:
    """A process to start.

    Attributes:
        name: To call it by.
        command: Its command line.
        log: Where its output is appended to.
    """

    name: str
    command: Sequence[str]
    log: Path


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    slot: int
    started: float


def slot_environments(
    jobs: int, gpus: Sequence[str], environment: Mapping[str, str]
) -> list[dict[str, str]]:
    """What processes find in their environment, by the place they run in.

    Args:
        jobs: How many run at a time.
        gpus: What ``CUDA_VISIBLE_DEVICES`` calls the GPUs. Each place has one, in turn.
        environment: What all have in common.
    """
    places = [dict(environment) for _ in range(jobs)]
    if gpus:
        for number, place in enumerate(places):
            place['CUDA_VISIBLE_DEVICES'] = gpus[number % len(gpus)]
    return places


def visible_gpus(count: int, environment: Mapping[str, str]) -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process sees.

    Args:
        count: How many it sees.
        environment: Of this process, which may have been given some of the machine's only.
    """
    named = [name.strip() for name in environment.get('CUDA_VISIBLE_DEVICES', '').split(',')]
    names = [name for name in named if name] or [str(number) for number in range(count)]
    return names[:count]


def run_jobs(
    jobs: Iterable[Job],
    environments: Sequence[Mapping[str, str]],
    done: Callable[[Job, int, float], None],
    is_needed: Callable[[Job], bool] = lambda job: True,
) -> None:
    """Run processes, as many at a time as there are environments.

    All are ended when this one is interrupted, or asked to end.

    Args:
        jobs: What to run, in this order.
        environments: One per place.
        done: Called with a job, its exit status and the seconds it took.
        is_needed: Asked right before a job is started.

    Raises:
        KeyboardInterrupt: If this process is interrupted or asked to end, after the others have.
    """
    waiting, running = iter(jobs), []
    free = list(range(len(environments)))[::-1]
    # Of a closed terminal, too, unless it was started to outlive that.
    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in signals}
    try:
        is_over = False
        while running or not is_over:
            while free and not is_over:
                job = next((one for one in waiting if is_needed(one)), None)
                is_over = job is None
                if job is not None:
                    slot = free.pop()
                    running.append(_start(job, slot, environments[slot]))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.slot)
                done(one.job, one.process.returncode, time.monotonic() - one.started)
            if running:
                time.sleep(_PAUSE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end([one.process for one in running])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _start(job: Job, slot: int, environment: Mapping[str, str]) -> _Running:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, 'ab') as log:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            # Ctrl-C reaches this process alone, which ends the others.
            start_new_session=True,
        )
    return _Running(job, process, slot, time.monotonic())


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen, number: int) -> None:
    """Signal a process and those that it has started, such as workers of a loader."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            # It ended meanwhile.
            return
