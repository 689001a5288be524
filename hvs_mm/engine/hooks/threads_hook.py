"""Choose the number of threads of a training on a CPU by timing its first steps."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.console import log_to_console
from ...utils.threads import VARIABLE, spare_threads, wait_passively

#: Entry of MMEngine's hub, which checkpoints keep.
_ENTRY = 'cpu_threads'
#: Steps that warm up before the first number is timed, and steps that are timed for each.
_WARMUP, _TIMED = 2, 3
#: A number must be that much faster than the one before it, or the smaller one stays.
_GAIN = 0.95


@HOOKS.register_module()
class ThreadsHook(Hook):
    """Trains with as many threads as are fastest.

    Candidates are 1, 2, 4 and so on up to the cores that loader workers and other processes leave
    over, or up to all cores if threads wait passively (``OMP_WAIT_POLICY=PASSIVE``, which the tools
    set): these lose little when a worker needs a core for a while. Each is timed for some steps of
    the training itself, without the wait for data, until one is no faster than the one before it.
    The choice is logged and kept in checkpoints, so that a resumed run computes alike. On a GPU, or
    where ``OMP_NUM_THREADS`` or ``threads`` says how many, nothing is chosen.

    Sums over another number of threads round differently: give ``threads`` where a run must be
    repeated bit for bit.

    Args:
        threads: The number of threads; by default it is chosen.

    Raises:
        ValueError: If ``threads`` is below 1.
    """

    # The first before a step and the last after it would be best; few hooks take time.
    priority = 'VERY_HIGH'

    def __init__(self, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f'--threads {threads} must be at least 1.')
        self.threads = threads
        self._left: list[int] = []

    def before_train(self, runner: Runner) -> None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
            return
        device = next(runner.model.parameters()).device
        if VARIABLE in os.environ or device.type != 'cpu':
            return
        workers, processes = runner.train_dataloader.num_workers, get_world_size()
        # Processes that time on their own would differ.
        is_timed = processes == 1
        most = spare_threads(0 if is_timed and wait_passively() else workers, processes)
        chosen = runner.message_hub.runtime_info.get(_ENTRY)
        if chosen is not None or most == 1 or not is_timed:
            self._choose(runner, min(chosen or most, most))
            return
        self._left = [2**i for i in range(most.bit_length()) if 2**i < most] + [most]
        self._most = most
        self._best = (float('inf'), 0)
        self._times: list[float] = []
        self._skip = _WARMUP
        torch.set_num_threads(self._left[0])

    def before_train_iter(self, *args: Any, **kwargs: Any) -> None:
        self._started = perf_counter()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if not self._left:
            return
        if self._skip:
            self._skip -= 1
            return
        self._times.append(perf_counter() - self._started)
        if len(self._times) < _TIMED:
            return
        # The fastest: other processes only ever add time.
        seconds, number = min(self._times), self._left.pop(0)
        self._times = []
        is_faster = seconds < _GAIN * self._best[0]
        if is_faster:
            self._best = (seconds, number)
        if is_faster and self._left:
            self._skip = 1
            torch.set_num_threads(self._left[0])
        else:
            self._left = []
            self._choose(runner, self._best[1])
            log_to_console(
                runner.logger,
                f'training with {self._best[1]} of {self._most} threads, the fastest in the first '
                'steps; --threads N sets another number',
            )

    def _choose(self, runner: Runner, number: int) -> None:
        torch.set_num_threads(number)
        runner.message_hub.update_info(_ENTRY, number)
        runner.logger.info(f'Threads on the CPU: {number}.')
