"""Loader workers that hang, die, or get a signal that is meant for the training."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from torch.utils.data import DataLoader

T = TypeVar('T')
#: Seconds that a batch may take, as long as processes wait for each other.
LOADER_TIMEOUT = 600


def with_timeout(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a loader with :data:`LOADER_TIMEOUT`, if it has workers and no own."""
    has_workers = settings.get('num_workers', 0) > 0
    return {'timeout': LOADER_TIMEOUT, **settings} if has_workers else settings


def shield_workers(loader: DataLoader) -> None:
    """Move each worker into a process group of its own when it starts.

    A terminal and torchrun send their signals to whole groups. A worker would die of SIGTERM at
    once, and the training with it, instead of finishing its step and saving.
    """
    if loader.num_workers and hasattr(os, 'setpgid'):
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)


def _start_worker(then: Callable[[int], None] | None, worker: int) -> None:
    os.setpgid(0, 0)
    if then is not None:
        then(worker)


def within_timeout(batches: Iterable[T], timeout: float) -> Iterator[T]:
    """Yield the batches of a loader; raise torch's ``RuntimeError`` if one takes too long.

    torch's own timeout ends when a batch is announced. Its tensors still come from the worker, and
    if that has stopped, torch waits for ever. Workers that may have stopped are killed: they would
    keep this process from ending.

    Args:
        batches: The loader.
        timeout: Seconds; 0 for none.
    """
    is_main = threading.current_thread() is threading.main_thread()
    iterator = iter(batches)
    try:
        while True:
            # A second later: torch's message comes first.
            with _alarm(timeout + 1) if timeout and is_main else nullcontext():
                batch: Any = next(iterator, iterator)
            if batch is iterator:
                return
            yield batch
    except (ConnectionError, EOFError, RuntimeError) as error:
        workers = getattr(iterator, '_workers', [])
        # Of a worker that dies while it hands over a batch. Its own errors begin with "Caught".
        is_lost = not isinstance(error, RuntimeError) and not str(error).startswith('Caught')
        if is_main and workers and (is_lost or describe_loader_failure(error) is not None):
            _kill_all(workers)
            if is_lost:
                raise RuntimeError(f'DataLoader worker exited unexpectedly ({error})') from error
        raise


def _kill_all(workers: Iterable[BaseProcess]) -> None:
    # Torch's handler would raise another error for each.
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in workers:
        worker.kill()
        worker.join()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise a ``RuntimeError`` in the main thread after so many seconds."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise RuntimeError(f'DataLoader timed out after {seconds:g} seconds')

    handler, started = signal.signal(signal.SIGALRM, ring), time.monotonic()
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # The alarm of somebody else continues.
        left = max(left - (time.monotonic() - started), 1e-3) if left else 0
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        signal.setitimer(signal.ITIMER_REAL, left)


def describe_loader_failure(error: Exception) -> str | None:
    """What to do about torch's error for a worker that hangs or died; None for other errors."""
    text = str(error).partition('\n')[0]
    if not text.startswith('DataLoader '):
        return None
    if 'timed out' in text:
        way_out = (
            'a worker hangs, or its images come too slowly. Look at the storage, or allow more '
            'with train_dataloader.timeout=SECONDS'
        )
    else:
        way_out = (
            'a worker has ended, of too little memory for example. Set a lower '
            'train_dataloader.num_workers, or 0 to see the error of the worker'
        )
    return f'{text.rstrip(". ")}: {way_out}. Continue with --resume.'
