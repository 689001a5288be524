"""Several gloo processes, for tests of what they do together."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing import start_processes

ROOT = Path(__file__).parents[2]
#: Seconds after which processes count as waiting for each other forever. The slowest test took 52
#: on busy cores.
BOUND = 150


def forkserver() -> Any:
    """The context of processes that are forked from a server that has imported the package.

    Each process would otherwise take seconds to import it. A fork of this process, which may have
    threads, could inherit locks that nobody releases.
    """
    helpers = ('tiny', 'tiny_dino', 'short_cuts')
    multiprocessing.set_forkserver_preload([f'tests.helpers.{name}' for name in helpers])
    # The server imports from its current folder, and a test may have changed that of this process.
    folder = os.getcwd()
    os.chdir(ROOT)
    try:
        ensure_running()
    finally:
        os.chdir(folder)
    return multiprocessing.get_context('forkserver')


def run_ranks(
    function: Callable[..., None], world_size: int, folder: Path, *arguments: Any
) -> None:
    """Call a function in every process of a group, and wait for all of them.

    Args:
        function: Called with the rank and the arguments; importable by its name.
        world_size: Number of processes.
        folder: An empty folder, where they meet.
        *arguments: Passed to the function.

    Raises:
        TimeoutError: If they have not ended in time; it shows where they stood.
        torch.multiprocessing.ProcessRaisedException: With the traceback of the first that failed.
    """
    forkserver()
    context = start_processes(
        _rank,
        args=(function, world_size, str(folder), arguments),
        nprocs=world_size,
        join=False,
        start_method='forkserver',
    )
    deadline = time.monotonic() + BOUND
    try:
        while not context.join(timeout=1):
            if time.monotonic() > deadline:
                raise TimeoutError(f'ranks have not ended after {BOUND} s:\n{_stacks(folder)}')
    finally:
        # The remaining ones would keep this process from ending.
        for process in context.processes:
            process.kill()
            process.join()


def _stacks(folder: Path) -> str:
    paths = sorted(folder.glob('stacks_of_rank_*.txt'))
    return '\n'.join(f'{path.stem}:\n{path.read_text()}' for path in paths)


def _rank(
    rank: int,
    function: Callable[..., None],
    world_size: int,
    folder: str,
    arguments: tuple[Any, ...],
) -> None:
    from mmengine.logging import MessageHub
    from mmengine.registry import DefaultScope

    import hvs_mm  # noqa: F401

    stacks = open(f'{folder}/stacks_of_rank_{rank}.txt', 'w')  # noqa: SIM115  until the process ends
    faulthandler.dump_traceback_later(BOUND - 10, file=stacks)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    MessageHub.get_current_instance().update_info('max_iters', 100)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        function(rank, *arguments)
    # The group is left to the end of the process, which all reach together: with torch 2.5,
    # destroying it hangs now and then, as does a process that another one has left behind.
    distributed.barrier()
