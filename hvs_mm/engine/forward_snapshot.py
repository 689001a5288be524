"""What forward passes write to, and the way back."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


class ForwardSnapshot:
    """Copies of everything that forward passes of a model change, to undo them.

    These are its buffers: statistics of BatchNorm, the centers of DINO and iBOT, queues, counters;
    and the parameters without gradient that a pass writes to, such as BYOL's target network. The
    first time all parameters without gradient are copied. From then on only those are that a pass
    has been seen to write to: DINO's teacher, which a hook updates between the passes, is not.

    Args:
        model: Any module. Its buffers may be written in place or replaced.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._written: set[str] | None = None
        # The owner, the name there, the tensor and its version by full name.
        self._slots: dict[str, tuple[nn.Module, str, Tensor, int]] = {}
        self._copies: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self) -> None:
        """Copy what the coming passes may change."""
        self._slots = {}
        for prefix, owner in self._model.named_modules():
            for name, value in (*owner._buffers.items(), *owner._parameters.items()):
                if value is not None and not value.requires_grad:
                    full = f'{prefix}.{name}' if prefix else name
                    self._slots[full] = (owner, name, value, value._version)
        originals = {
            full: value
            for full, (_, _, value, _) in self._slots.items()
            if self._written is None or self._is_copied(full)
        }
        # Memory is taken once, and again only for what has been replaced by something else.
        self._copies = {
            full: old
            if (old := self._copies.get(full)) is not None and _is_alike(old, value)
            else torch.empty_like(value)
            for full, value in originals.items()
        }
        _copy_all([self._copies[full] for full in originals], list(originals.values()))

    def changed(self) -> dict[str, Tensor]:
        """Floating-point buffers that were written to or replaced since :meth:`take`, by name."""
        return {
            full: owner._buffers[name]
            for full, (owner, name, value, version) in self._slots.items()
            if owner._buffers.get(name) is not None
            and owner._buffers[name].is_floating_point()
            and (owner._buffers[name] is not value or value._version != version)
        }

    def note_writes(self) -> None:
        """Learn which parameters passes write to; before anything else than a pass does."""
        self._written = self._written or set()
        for full, (_, _, value, version) in self._slots.items():
            if value._version != version:
                self._written.add(full)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back to where it was at :meth:`take`."""
        found: list[str] = []
        for full, (owner, name, value, version) in self._slots.items():
            if name in owner._buffers:
                owner._buffers[name] = value
            if full in self._copies and value._version != version:
                found.append(full)
        _copy_all([self._slots[f][2] for f in found], [self._copies[f] for f in found])
        # Putting back is no write of a pass.
        for full in found:
            owner, name, value, _ = self._slots[full]
            self._slots[full] = (owner, name, value, value._version)

    def _is_copied(self, full: str) -> bool:
        owner, name, _, _ = self._slots[full]
        return name in owner._buffers or full in self._written


def _is_alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.device == other.device


def _copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    # Of one type at a time: only then is it one kernel for many tensors.
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]]
    groups = defaultdict(lambda: ([], []))
    for target, source in zip(targets, sources):
        both = groups[target.device, target.dtype]
        both[0].append(target)
        both[1].append(source)
    for into, out_of in groups.values():
        torch._foreach_copy_(into, out_of)
