"""Whether a training step makes the host wait for the GPU."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _building import build_steps

from .batches import Batches
from .setting import Setting, require_cuda

#: In the message of torch's error about a synchronization (c10/cuda/CUDAFunctions.cpp).
_MESSAGE = 'synchronizing CUDA operation'


def check_waiting(setting: Setting, method: str) -> dict[str, Any]:
    """Take steps in which torch raises an error where the host waits for the GPU.

    In bfloat16 or float32: a loss scaler waits for its GPU once a step.

    Returns:
        ``hvs`` and ``vanilla``: where the step with selection and that without first wait, ``None``
        if nowhere. ``failed`` if the first does and the second does not.
    """
    require_cuda(setting)
    cfg, device = setting.config(method), torch.device(setting.device)
    batches = Batches(cfg, device, 8)
    dtype = 'fp32' if setting.dtype == 'fp16' else setting.dtype
    steps = build_steps(cfg, device, batches.draw, dtype=dtype)
    found: dict[str, Any] = {'method': method, 'dtype': dtype}
    for name, step, views in (('vanilla', steps.vanilla, steps.kept), ('hvs', steps.hvs, None)):
        batch = batches.draw(views)
        # Tables that are built once, workspaces of libraries, the state of the optimizer.
        for _ in range(2):
            step(batch)
        found[name] = first_wait(lambda step=step, batch=batch: step(batch))
    if found['hvs'] and not found['vanilla']:
        found['failed'] = f'the step with selection waits in {found["hvs"]}'
    return found


def first_wait(work: Callable[[], object]) -> str | None:
    """Where some work first makes the host wait for the GPU, ``None`` if nowhere.

    torch knows of no operations of ``torch.distributed`` and ``torch.sparse``, and of no events
    that the host waits for.
    """
    # What went before must not be waited for inside.
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('error')
    try:
        work()
    except RuntimeError as error:
        if _MESSAGE not in str(error):
            raise
        return _place(error)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None


def _place(error: Exception) -> str:
    """The last line of code outside of torch, as ``file:line name``."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = str(Path(torch.__file__).parent)
    own = [frame for frame in frames if not frame.filename.startswith(folder)] or frames
    last = own[-1]
    return f'{"/".join(Path(last.filename).parts[-3:])}:{last.lineno} {last.name}'
