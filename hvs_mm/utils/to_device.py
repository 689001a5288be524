"""Move tensors from the host to a device without waiting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def index_tensor(values: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """An int64 tensor of rectangular nested sequences, moved without making the host wait."""
    # The dtype matters for empty rows.
    return to_device(torch.tensor(values, dtype=torch.int64), device)


def is_asynchronous(device: torch.device) -> bool:
    """Whether a device works while the host continues, which should not ask for its results."""
    return device.type == 'cuda'


def is_on_host(tensor: Tensor) -> bool:
    """Whether the host can read a tensor without waiting for a device."""
    return tensor.device.type == 'cpu'


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device without making the host wait for it."""
    if not is_on_host(tensor) or not is_asynchronous(device):
        return tensor.to(device)
    # A copy from pageable memory would wait for all work queued on the device.
    return tensor.pin_memory().to(device, non_blocking=True)
