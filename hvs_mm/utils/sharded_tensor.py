"""Tensors of which each process holds a part: torch's ``DTensor``, as FSDP2 makes them."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(value: Any) -> bool:
    """Whether a value is a tensor of which this process holds a part."""
    return isinstance(value, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor in this process, in the same memory; all of it if it is not sharded."""
    if not isinstance(tensor, DTensor):
        return tensor
    with torch.no_grad():
        return tensor.to_local()


@torch.no_grad()
def collect(value: Any) -> Any:
    """The whole of a sharded tensor, on the CPU of the first process; others get their part back.

    All processes must call it together. What is not sharded stays as it is.
    """
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if is_main_process() else value


@torch.no_grad()
def sharded_like(value: Any, like: Tensor) -> Any:
    """The part in this process of a whole tensor, sharded as another tensor of its shape is.

    Nothing is sent: each process has the whole tensor, read from a file. Other values, and tensors
    of another shape, stay as they are.
    """
    fits = isinstance(value, Tensor) and not is_sharded(value) and value.shape == like.shape
    if not fits or not isinstance(like, DTensor):
        return value
    whole = value.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
