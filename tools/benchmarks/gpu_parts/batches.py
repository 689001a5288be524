"""Random batches of a changing size, and the largest size that a device has room for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from _workload import Batch, random_batch
from mmengine.config import Config

from .worker import one_line

_Result = TypeVar('_Result')


class Batches:
    """Draws random batches; data samples and masks, which take the host long, only once a size.

    Attributes:
        size: Images of the next batch.
    """

    def __init__(
        self,
        cfg: Config,
        device: torch.device,
        size: int,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.size = size
        self._cfg, self._device, self._layout = cfg, device, layout
        self._drawn: dict[tuple, Batch] = {}

    def draw(self, views: list[int] | None) -> Batch:
        """A batch of the candidates at the given positions, ``None`` for all."""
        key = (self.size, None if views is None else tuple(views))
        if key not in self._drawn:
            # Shapes alone: the views are drawn on the device, anew each time.
            self._drawn[key] = random_batch(self._cfg, self.size, views, 'meta')
        shapes, samples = self._drawn[key]
        tensors = [torch.randn(view.shape, device=self._device) for view in shapes]
        return Batch([view.to(memory_format=self._layout) for view in tensors], samples)


def sizes_that_fit(
    trial: Callable[[int], object],
    sizes: Iterable[int],
    release: Callable[[], object],
    patience: float = 15.0,
    now: Callable[[], float] = time.monotonic,
) -> tuple[list[int], str]:
    """Try growing sizes until one does not fit.

    Args:
        trial: Does the work at a size.
        sizes: In ascending order.
        release: Frees the memory of a trial that failed.
        patience: Seconds of a trial after which no larger one is made.
        now: A clock, in seconds.

    Returns:
        The sizes that fit, and why there are no more.

    Raises:
        RuntimeError: What stopped the first trial.
    """
    fitting: list[int] = []
    for size in sizes:
        start = now()
        try:
            trial(size)
            problem = None
        except RuntimeError as error:
            if not fitting:
                raise
            problem = 'out of memory' if is_out_of_memory(error) else one_line(error)
        # Not in the handler, whose traceback holds the tensors of the trial.
        if problem is not None:
            release()
            return fitting, f'{problem} at {size}'
        fitting.append(size)
        taken = now() - start
        if taken > patience:
            return fitting, f'{taken:.0f} s for the trial at {size}'
    return fitting, 'no larger one is tried'


def largest_that_works(
    work: Callable[[int], _Result], sizes: Sequence[int], release: Callable[[], object]
) -> tuple[int, _Result]:
    """Do work at the last of some sizes, or at the one before it if memory runs out.

    Raises:
        RuntimeError: What stopped it: anything else, or at the first size.
    """
    for size in reversed(sizes[1:]):
        try:
            return size, work(size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        release()
    return sizes[0], work(sizes[0])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory of a GPU, also inside of another one's message."""
    text = str(error)
    named = 'out of memory' in text.lower() or 'ALLOC_FAILED' in text
    return isinstance(error, torch.cuda.OutOfMemoryError) or named


def release_memory() -> None:
    """Give the memory of tensors that are no longer used back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
