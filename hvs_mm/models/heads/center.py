"""The running mean of a teacher's logits, which DINO and iBOT subtract from them."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


def register_center(head: nn.Module, name: str, channels: int) -> None:
    """Give a head a center (1, ``channels``), which :func:`move_center` moves."""
    head.register_buffer(name, torch.zeros(1, channels))
    # Of the batches since the last optimizer step; a checkpoint has no gradients of them, either.
    head.register_buffer(f'{name}_sum', torch.zeros(1, channels), persistent=False)
    head.register_buffer(f'{name}_count', torch.zeros(1, 1), persistent=False)


@torch.no_grad()
def move_center(
    head: nn.Module,
    name: str,
    teacher: Tensor,
    momentum: float,
    counts: Tensor | None = None,
    step_follows: bool = True,
) -> None:
    """Move a center towards the mean of the teacher's logits (arXiv 2104.14294, eq. 4), in place.

    The mean is over all processes and all batches since the last optimizer step, as in `automl/hvp
    <https://github.com/automl/hvp>`_. Without any logits, such as those of patches in an epoch
    without masks, the center stays.

    Args:
        head: It has the center.
        name: Name of the center.
        teacher: (N, K) logits in this process; N may differ between processes.
        momentum: Share of the old center.
        counts: (N,) bool, which of the logits count; by default all.
        step_follows: Whether the optimizer makes a step on this batch. If not, the logits wait.
    """
    center, waiting, waiting_count = (
        getattr(head, f'{name}{suffix}') for suffix in ('', '_sum', '_count')
    )
    teacher = teacher.detach().to(center.dtype)
    if counts is None:
        count = teacher.new_full((1, 1), len(teacher))
    else:
        teacher = torch.where(counts[:, None], teacher, 0)
        count = counts.to(center.dtype).sum().view(1, 1)
    total = teacher.sum(0, keepdim=True)
    # In every batch: where buffers are broadcast, what waits has to be the same everywhere.
    all_reduce(total)
    all_reduce(count)
    waiting += total
    waiting_count += count
    if step_follows:
        mean = waiting / waiting_count.clamp(min=1)
        moved = center * momentum + mean * (1 - momentum)
        center.copy_(torch.where(waiting_count > 0, moved, center))
        waiting.zero_()
        waiting_count.zero_()
