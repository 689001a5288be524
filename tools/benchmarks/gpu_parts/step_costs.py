"""What hard views cost a step: ratio, memory and images per second at the largest batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from _building import build_steps
from _measuring import Clock
from _steps import Steps, measure_step
from torch._dynamo.utils import counters

from .batches import Batches, largest_that_works, release_memory, sizes_that_fit
from .setting import METHODS, Setting
from .worker import NotRunError

_SIZES, _TINY_SIZES = (16, 32, 64, 128, 256, 512, 1024), (2,)
_REPEATS, _TINY_REPEATS = 5, 1


def measure_cost(setting: Setting, method: str, compiled: bool, fast: bool) -> dict[str, Any]:
    """Measure the steps of a method with and without selection, in turn.

    Args:
        setting: Where, and how large.
        method: One of :data:`METHODS`.
        compiled: Whether both losses are compiled, and images are in ``channels_last``. On a CPU
            SimSiam's stand for all: graphs are captured, and no code is made of them.
        fast: Whether the selection pass is the cheaper one of the method's fast config.

    Returns:
        What :func:`_steps.measure_step` measures at the largest batch size that both steps fit in,
        for compiled steps without the parts; ``images_per_second`` of both; ``batch_ends``, why
        the batch is not larger; ``graphs``, how many the compiler has captured.

    Raises:
        NotRunError: If the CPU does not compile it.
    """
    if compiled and setting.device == 'cpu' and (fast or method != next(iter(METHODS))):
        raise NotRunError('needs CUDA; on the CPU only the plain mode of SimSiam is compiled')
    options = {'model.selection_pass': METHODS[method].fast} if fast else {}
    cfg, device = setting.config(method, options), torch.device(setting.device)
    layout = torch.channels_last if compiled else torch.contiguous_format
    sizes = _TINY_SIZES if setting.tiny else _SIZES
    batches = Batches(cfg, device, sizes[0], layout)
    steps = build_steps(cfg, device, batches.draw, dtype=setting.dtype, layout=layout)

    def release() -> None:
        steps.optim_wrapper.zero_grad()
        release_memory()

    fitting, ends = sizes_that_fit(partial(_try_steps, steps, batches, device), sizes, release)
    if compiled:
        # After some variants of a function, also those of other models, torch stops to compile it.
        torch._dynamo.reset()
        counters.clear()
        backend = 'eager' if setting.device == 'cpu' else 'inductor'
        compiler = partial(torch.compile, backend=backend)
        batches.size = fitting[-1]
        steps = Steps(steps.model, steps.optim_wrapper, batches.draw, steps.autocast, compiler)

    def measure(size: int) -> dict[str, Any]:
        batches.size = size
        repeats = _TINY_REPEATS if setting.tiny else _REPEATS
        return measure_step(steps, device, repeats, parts=not compiled)

    size, cost = largest_that_works(measure, fitting, release)
    rates = {step: size / cost[step]['median'] for step in ('vanilla', 'hvs')}
    return {
        'method': method,
        'config': cfg.filename.rsplit('/configs/', 1)[-1],
        'compiled': compiled,
        'selection_pass': dict(METHODS[method].fast) if fast else {},
        'dtype': setting.dtype,
        'images_per_second': rates,
        'batch_ends': ends,
        'graphs': counters['stats']['unique_graphs'] if compiled else 0,
        **cost,
    }


def _try_steps(steps: Steps, batches: Batches, device: torch.device, size: int) -> None:
    """Whether a round of a measurement fits, from the first update of the optimizer on."""
    batches.size = size
    candidates, kept = steps.draw(None), steps.draw(steps.kept)
    steps.vanilla(kept)
    steps.hvs(candidates)
    clock = Clock(device)
    steps.hvs_in_parts(candidates, clock)
    clock.read()
