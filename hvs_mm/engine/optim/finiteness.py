"""Check many tensors at once for NaN and infinity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ...utils.sharded_tensor import local_part

#: Square root of the largest float32: beyond it the squares that AdamW averages, and the norms
#: that LARS divides by, are infinite although the gradient is not.
LARGEST_NORM = torch.finfo(torch.float32).max ** 0.5


def finite_gradients(gradients: Sequence[Tensor], device: torch.device) -> Tensor:
    """Check that the norm of each gradient is at most :data:`LARGEST_NORM`.

    Args:
        gradients: Tensors of any shapes, dense or sparse, on any devices. Of sharded ones it is the
            norm of the part in this process.
        device: Device of the result.

    Returns:
        () bool, without a device synchronization.
    """
    # A comparison with NaN is false.
    return _all([norms <= LARGEST_NORM for norms in _norms(gradients, 2)], device)


def finite_values(values: Sequence[Tensor], device: torch.device) -> Tensor:
    """As :func:`finite_gradients`: check that all numbers are finite, and so are their sums."""
    return _all([norms.isfinite() for norms in _norms(values, 1)], device)


def first_nonfinite(
    named: Iterable[tuple[str, Tensor]],
    check: Callable[[list[Tensor], torch.device], Tensor] = finite_gradients,
) -> str | None:
    """Return the name of the first tensor that does not pass a check of this module.

    Synchronizes with the device for every tensor: use it for a message about a known fault.
    """
    for name, value in named:
        if value.is_floating_point() and not check([value], value.device):
            return name
    return None


def _norms(values: Sequence[Tensor], order: int) -> Iterator[Tensor]:
    """(n,) norms of the tensors, by device and precision."""
    groups: dict[tuple[torch.device, bool], list[Tensor]] = defaultdict(list)
    for value in map(local_part, values):
        if value.is_sparse:
            # One position may have several entries, which add up.
            value = value.coalesce().values()
        groups[value.device, value.dtype == torch.float16].append(value)
    for (_, is_half), group in groups.items():
        # In float16, norms of ordinary weights overflow, and so does LARGEST_NORM.
        dtype = torch.float32 if is_half else None
        yield torch.stack(torch._foreach_norm(group, order, dtype=dtype))


def _all(flags: Sequence[Tensor], device: torch.device) -> Tensor:
    if not flags:
        return torch.ones((), dtype=torch.bool, device=device)
    return torch.stack([flag.all().to(device) for flag in flags]).all()
