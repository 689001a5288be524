"""Tensors of all processes, by torch alone."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def gather_ranks(tensor: Tensor) -> tuple[Tensor, int]:
    """Collect a tensor of equal shape (B, ...) from all processes, without gradient.

    Returns:
        (ranks * B, ...), rank after rank, and the rank of this process: the tensor itself and 0
        where there is no process group.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor, 0
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts), distributed.get_rank()


def reduce_ranks(tensor: Tensor, largest: bool = False) -> Tensor:
    """Sum a tensor over all processes in place, or take the largest values.

    It stays as it is where there is no process group.
    """
    if distributed.is_available() and distributed.is_initialized():
        operation = distributed.ReduceOp.MAX if largest else distributed.ReduceOp.SUM
        distributed.all_reduce(tensor, operation)
    return tensor
