"""What forward passes write to, and the way back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from mmengine.model import BaseAveragedModel
from torch import Tensor, nn


class ForwardSnapshot:
    """Copies of everything that forward passes of a model change, to undo them.

    These are its buffers: statistics of BatchNorm, the centers of DINO and iBOT, queues, counters;
    and the parameters of MMEngine's averaged models, such as BYOL's target network, which upstream
    updates in the forward pass. The teacher of DINO and iBOT, which a hook updates between the
    passes, is left alone.

    Args:
        model: Any module. Its buffers may be written in place or replaced.
    """

    # Counters of writes (``_version``) do not tell what has changed: BatchNorm writes to its
    # statistics, and MMEngine to its averages, without raising them (torch 2.5, 2.10).

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # By full name: the module's dict that holds the tensor, its key there, and the tensor.
        self._places: dict[str, tuple[dict[str, Tensor], str, Tensor]] = {}
        self._copies: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self) -> None:
        """Copy what the coming passes may change."""
        self._places = {
            f'{prefix}.{name}' if prefix else name: (entries, name, value)
            for prefix, entries in _changing(self._model)
            for name, value in entries.items()
            if value is not None
        }
        # Memory is taken once, and again only for what has been replaced by something else.
        self._copies = {
            full: old
            if (old := self._copies.get(full)) is not None and _is_alike(old, value)
            else torch.empty_like(value)
            for full, (_, _, value) in self._places.items()
        }
        _copy_all(list(self._copies.values()), [value for _, _, value in self._places.values()])

    def current(self) -> dict[str, Tensor]:
        """All floating-point buffers, as they are now, by name.

        Not the parameters of averaged models: an average of finite weights is finite.
        """
        found = {
            full: entries.get(name)
            for full, (entries, name, value) in self._places.items()
            if not isinstance(value, nn.Parameter)
        }
        return {n: v for n, v in found.items() if v is not None and v.is_floating_point()}

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back to where it was at :meth:`take`."""
        for entries, name, value in self._places.values():
            entries[name] = value
        _copy_all([value for _, _, value in self._places.values()], list(self._copies.values()))


def _changing(model: nn.Module) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The modules' dicts of what forward passes change, with the modules' names."""
    for prefix, module in model.named_modules():
        yield prefix, module._buffers
        if isinstance(module, BaseAveragedModel):
            for name, inner in module.named_modules(prefix=prefix):
                yield name, inner._parameters


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
