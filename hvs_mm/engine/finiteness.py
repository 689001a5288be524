"""Whether numbers are finite, asked of many tensors at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

#: Square root of the largest float32: beyond it the squares that AdamW averages, and the norms
#: that LARS divides by, are infinite although the gradient is not.
LARGEST_NORM = torch.finfo(torch.float32).max ** 0.5


def finite_gradients(gradients: Sequence[Tensor], device: torch.device) -> Tensor:
    """Whether an optimizer can use gradients without spoiling its averages.

    Args:
        gradients: Of any shapes.
        device: Where the answer lies if there are none.

    Returns:
        () bool: true if the norm of each is at most :data:`LARGEST_NORM`. Not waited for.
    """
    if not gradients:
        return torch.ones((), dtype=torch.bool, device=device)
    # A comparison with NaN is false.
    return (torch.stack(torch._foreach_norm(list(gradients))) <= LARGEST_NORM).all()


def finite_values(values: Sequence[Tensor], device: torch.device) -> Tensor:
    """Whether all numbers are finite, and the sums of their magnitudes.

    Args:
        values: Floating-point tensors of any shapes.
        device: Where the answer lies if there are none.

    Returns:
        () bool. Not waited for.
    """
    if not values:
        return torch.ones((), dtype=torch.bool, device=device)
    return torch.stack(torch._foreach_norm(list(values), 1)).isfinite().all()


def first_nonfinite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Name of the first tensor with a number that is not finite, or of too large a norm.

    Waits for the device tensor by tensor: for a message, once something is known to be wrong.
    """
    for name, value in named:
        if value.is_floating_point() and not finite_gradients([value], value.device):
            return name
    return None
