"""Several gloo processes, for tests of what they do together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing import start_processes


def run_ranks(
    function: Callable[..., None], world_size: int, folder: Path, *arguments: Any
) -> None:
    """Call a function in every process of a group, and wait for all of them.

    The processes are forked from a server that has imported the package: otherwise each would take
    seconds to import it.

    Args:
        function: Called with the rank and the arguments; importable by its name.
        world_size: Number of processes.
        folder: An empty one, where they meet.
        *arguments: Handed on.

    Raises:
        torch.multiprocessing.ProcessRaisedException: With the traceback of the first that failed.
    """
    multiprocessing.set_forkserver_preload(['torch', 'hvs_mm', 'tests.tiny', 'tests.tiny_dino'])
    start_processes(
        _rank,
        args=(function, world_size, str(folder), arguments),
        nprocs=world_size,
        start_method='forkserver',
    )


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

    torch.set_num_threads(1)
    torch.manual_seed(0)
    MessageHub.get_current_instance().update_info('max_iters', 100)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size
    )
    try:
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            function(rank, *arguments)
        # With torch 2.5 a process that leaves early can keep the other one from leaving.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
