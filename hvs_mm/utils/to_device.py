"""Tensors made on the host, indices above all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def index_tensor(values: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Bring indices to a device without making the host wait for it.

    Args:
        values: Nested sequences of integers, rectangular.
        device: Where the tensor goes.

    Returns:
        int64 tensor of the shape of ``values``.
    """
    # The dtype matters for empty rows.
    return to_device(torch.tensor(values, dtype=torch.int64), device)


def is_asynchronous(device: torch.device) -> bool:
    """Whether work on a device goes on while the host does, which must not ask for its results."""
    return device.type == 'cuda'


def is_on_host(tensor: Tensor) -> bool:
    """Whether the host can read a tensor without waiting for a device."""
    return tensor.device.type == 'cpu'


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor of the host to a device without making the host wait for it.

    Args:
        tensor: On the CPU, or there already.
        device: Where it goes.
    """
    if not is_on_host(tensor) or not is_asynchronous(device):
        return tensor.to(device)
    # A copy from pageable memory would wait for all work queued on the device.
    return tensor.pin_memory().to(device, non_blocking=True)
