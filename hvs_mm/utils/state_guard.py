"""Leave a model and the random number generators as they were found."""

# The transforms of MMCV and MMPretrain draw from NumPy's legacy generator.
# ruff: noqa: NPY002
from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class StateGuard:
    """Copies of everything that forward passes of a model change, to undo them.

    These are its buffers and tensors that are plain attributes, written in place or replaced:
    statistics of BatchNorm, the centers of DINO and iBOT, queues, counters. With ``averages`` they
    are also the parameters of MMEngine's averaged models, such as BYOL's target network, which
    upstream updates in the forward pass. The teacher of DINO and iBOT is updated by a hook between
    the passes and is not guarded.
    """

    # Version counters (`_version`) do not show all changes: writes through `.data`, BatchNorm's to
    # its statistics and MMEngine's to its averages do not raise them (torch 2.5, 2.10).

    def __init__(self, model: nn.Module, averages: bool = False) -> None:
        self._model = model
        self._averages = averages
        # The module's dict that holds a tensor, its key there, and the tensor.
        self._places: list[tuple[dict[str, Any], str, Tensor | None]] = []
        self._copies: list[Tensor] = []

    @torch.compiler.disable
    @torch.no_grad()
    def take(self, skip: Collection[nn.Module] = ()) -> None:
        """Copy what the next passes may change; they leave the buffers of ``skip`` alone."""
        skipped = {id(module) for module in skip}
        self._places = [
            (entries, name, value)
            for entries in self._changing(skipped)
            for name, value in entries.items()
        ]
        # Plain attributes, such as the queue of upstream's SwAV, change as buffers do.
        self._places += [
            (vars(module), name, value)
            for module in self._model.modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        ]
        values = self._values()
        # The memory of the copies before can be taken again.
        self._copies.clear()
        self._copies = [torch.empty_like(value) for value in values]
        _copy_all(self._copies, values)

    @torch.compiler.disable
    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back to where it was at :meth:`take`."""
        for entries, name, value in self._places:
            entries[name] = value
        _copy_all(self._values(), self._copies)

    def _changing(self, skipped: Collection[int]) -> Iterator[dict[str, Any]]:
        """The dicts of modules that hold what forward passes change."""
        for module in self._model.modules():
            if id(module) not in skipped:
                yield module._buffers
            if self._averages and _is_average(module):
                for inner in module.modules():
                    yield inner._parameters

    def _values(self) -> list[Tensor]:
        # Through `.data`: an unchanged buffer that autograd has saved must stay valid.
        return [v.data for _, _, v in self._places if v is not None and not _is_expanded(v)]


@contextmanager
def preserve_state(module: nn.Module, evaluate: bool = False) -> Iterator[None]:
    """Forward a module without changing its buffers, its modes or any random generator.

    BatchNorm in train mode still normalizes with the statistics of the batch, but does not track
    them. Any other buffer that a forward pass writes to or replaces is restored, and so are the
    random states of Python, NumPy and torch, on the CPU and on the module's devices: dropout and
    stochastic depth draw afterwards what they would have drawn without the pass. Parameters are not
    copied: run without gradient. With ``evaluate`` the module is in eval mode inside the block.
    """
    modes = [(child, child.training) for child in module.modules()]
    if evaluate:
        module.eval()
    tracking = [
        child
        for child, _ in modes
        if isinstance(child, _BatchNorm) and child.training and child.track_running_stats
    ]
    devices = {p.device for p in module.parameters() if p.device.type == 'cuda'}
    guard = StateGuard(module)
    # Statistics that are not tracked need no copy.
    guard.take(skip=tracking)
    with _preserve_random_states(devices):
        try:
            for norm in tracking:
                norm.track_running_stats = False
            yield
        finally:
            for norm in tracking:
                norm.track_running_stats = True
            # Not by train(), which sets the mode of all children, too.
            for child, is_training in modes:
                if child.training != is_training:
                    child.training = is_training
            guard.restore()


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Seed NumPy, Python and torch (on the CPU), and restore their generators afterwards.

    The transforms of MMCV and MMPretrain draw from all three.
    """
    with _preserve_random_states():
        np.random.seed(seed)
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _preserve_random_states(devices: Collection[torch.device] = ()) -> Iterator[None]:
    """Restore the random states of Python, NumPy and torch, on the CPU and on CUDA devices."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _is_average(module: nn.Module) -> bool:
    """Whether a module is one of MMEngine's averaged models, such as BYOL's target network."""
    # There is none where MMEngine is not installed.
    from mmengine.model import BaseAveragedModel

    return isinstance(module, BaseAveragedModel)


def _is_expanded(value: Tensor) -> bool:
    """Whether elements share memory, so that nothing can write to the tensor in place."""
    return any(size > 1 and step == 0 for size, step in zip(value.shape, value.stride()))


def _copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    # One type at a time: only then is it one kernel for many tensors.
    groups = defaultdict(list)
    for target, source in zip(targets, sources):
        groups[target.device, target.dtype].append((target, source))
    for pairs in groups.values():
        torch._foreach_copy_([target for target, _ in pairs], [source for _, source in pairs])
