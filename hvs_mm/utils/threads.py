"""How many threads torch computes with on a CPU."""

from __future__ import annotations

import os

import torch

#: The variable that says how many, and wins over every choice here.
VARIABLE = 'OMP_NUM_THREADS'
#: The variable that says how threads wait for each other. It is read when torch is imported.
WAITING = 'OMP_WAIT_POLICY'


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def spare_threads(num_workers: int, num_processes: int = 1) -> int:
    """Cores that loader workers and other processes of a run leave to each process, at least 1.

    A thread more than there are cores is worse than one less: after each of a thousand small
    parallel regions a step all threads wait for the one that has no core.
    """
    return max(usable_cores() // num_processes - num_workers, 1)


def wait_passively() -> bool:
    """Whether threads that wait for others give their cores away."""
    return os.environ.get(WAITING, '').upper() == 'PASSIVE'


def limit_threads(num_workers: int, threads: int | None = None) -> int:
    """Set the threads of torch, and return their number.

    Args:
        num_workers: Loader workers that run next to this process.
        threads: The number, if a user asks for one. Then comes ``OMP_NUM_THREADS``, then
            :func:`spare_threads`.

    Raises:
        ValueError: If ``threads`` is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f'--threads {threads} must be at least 1.')
        torch.set_num_threads(threads)
    elif VARIABLE not in os.environ:
        torch.set_num_threads(spare_threads(num_workers))
    return torch.get_num_threads()
