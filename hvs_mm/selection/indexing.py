"""Index tensors made on the host."""

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
    if device.type != 'cuda':
        return torch.tensor(values, dtype=torch.int64, device=device)
    # A copy from pageable memory would wait for all work queued on the device.
    host = torch.tensor(values, dtype=torch.int64, pin_memory=True)
    return host.to(device, non_blocking=True)
