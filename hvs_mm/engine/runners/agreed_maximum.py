"""What processes that train together agree on without waiting for each other."""

from __future__ import annotations

from datetime import timedelta

import torch
from mmengine.dist import get_world_size
from torch import Tensor, distributed


class AgreedMaximum:
    """The largest of the numbers that all processes give, one call later.

    All processes make it together and call it in the same steps. A call starts to compare its
    number between the hosts, over gloo, and returns the result of the call before, which has had a
    step's time: no process waits, and all get the same number in the same step. After a result
    other than 0 the next call returns 0. A single process gets its own number back.

    Args:
        timeout: How long a process may wait for the others.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._group: distributed.ProcessGroup | None = None
        if get_world_size() > 1:
            # The default group may use NCCL, which needs tensors on GPUs and waits for these.
            self._group = distributed.new_group(backend='gloo', timeout=timeout)
        self._pending: tuple[distributed.Work, Tensor] | None = None

    def __call__(self, number: int) -> int:
        """Give a number of 0 or more, and return the largest of the call before."""
        if self._group is None:
            return number
        found = self._result()
        if not found:
            tensor = torch.tensor(number)
            work = distributed.all_reduce(
                tensor, distributed.ReduceOp.MAX, self._group, async_op=True
            )
            self._pending = work, tensor
        return found

    def wait_for_all(self) -> None:
        """Wait until all processes have come here."""
        if self._group is not None:
            self._result()
            distributed.barrier(self._group)

    def _result(self) -> int:
        if self._pending is None:
            return 0
        work, tensor = self._pending
        self._pending = None
        work.wait()
        return int(tensor)
