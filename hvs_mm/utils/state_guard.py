"""Leave a model exactly as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Forward a module in train mode without changing any buffer or the random state.

    BatchNorm in train mode goes on normalizing with the statistics of the batch, but does not
    track them meanwhile. Any other buffer that a forward pass writes to or replaces is put back,
    and so are the states of torch's random generators on the CPU and on the module's device:
    dropout and stochastic depth draw afterwards what they would have drawn without the pass.

    Args:
        module: Any module. Parameters are left to the caller: run without gradient.
    """
    tracking = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    # Statistics that are not tracked meanwhile need no copy.
    untouched = {id(norm) for norm in tracking}
    saved = [
        (owner, name, buffer, buffer._version, buffer.clone())
        for owner in module.modules()
        if id(owner) not in untouched
        for name, buffer in owner._buffers.items()
        if buffer is not None
    ]
    devices = {p.device for p in module.parameters() if p.device.type == 'cuda'}
    cpu_state = torch.random.get_rng_state()
    cuda_states = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
        with torch.no_grad():
            for owner, name, buffer, version, value in saved:
                if buffer._version != version:
                    buffer.copy_(value)
                owner._buffers[name] = buffer
        torch.random.set_rng_state(cpu_state)
        for device, state in cuda_states:
            torch.cuda.set_rng_state(state, device)
