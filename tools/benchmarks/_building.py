"""The steps of a config, ready to be measured."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from _steps import Steps
from _workload import Batch, selecting_model
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import OPTIMIZERS
from torch import nn

from hvs_mm.engine import build_model

#: Precisions of a step, by the name of the option.
DTYPES = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def build_steps(
    cfg: Config,
    device: torch.device,
    draw: Callable[[list[int] | None], Batch],
    *,
    dtype: str = 'fp32',
    layout: torch.memory_format = torch.contiguous_format,
    compile_loss: Callable[[Callable], Callable] = lambda loss: loss,
    fused: bool = False,
    build: Callable[[Config], nn.Module] = build_model,
) -> Steps:
    """Build the model of a config with initial weights, its optimizer, and the steps of both.

    Args:
        cfg: Config of a run with hard view selection.
        device: Where the model goes.
        draw: Draws a batch, as :class:`Steps` says.
        dtype: ``'fp32'``, or under autocast ``'bf16'`` or ``'fp16'``; the last one scales the loss,
            which MMEngine does on GPUs only.
        layout: Memory format of the model.
        compile_loss: As :class:`Steps` says.
        fused: Whether to take the fused form of the optimizer.
        build: Builds the model.

    Raises:
        ValueError: If the model selects no views, or the optimizer has no fused form.
    """
    torch.manual_seed(0)
    model = selecting_model(cfg, build)
    model.init_weights()
    model.to(device, memory_format=layout).train()
    # Steps of an epoch in which views are selected, of a run whose end CosineEMA reads.
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', model.schedule.warmup)
    hub.update_info('max_iters', 1000)
    cast = DTYPES[dtype]
    return Steps(
        model,
        build_optim_wrapper(model, optimizer_of(cfg, fused, scaled=dtype == 'fp16')),
        draw,
        partial(torch.autocast, device.type, cast) if cast else nullcontext,
        compile_loss,
    )


def optimizer_of(cfg: Config, fused: bool = False, scaled: bool = False) -> dict[str, Any]:
    """The optimizer of a config, ``scaled`` with a loss scaler; its precision is not taken."""
    optimizer = dict(cfg.optim_wrapper.optimizer)
    if fused:
        if 'fused' not in signature(OPTIMIZERS.get(optimizer['type'])).parameters:
            raise ValueError(
                f'--fused: the optimizer {optimizer["type"]} of {cfg.filename} has no fused form. '
                'Leave the option out.'
            )
        optimizer['fused'] = True
    kind = {'type': 'AmpOptimWrapper', 'dtype': 'float16'} if scaled else {'type': 'OptimWrapper'}
    wrapper = {'optimizer': optimizer, 'paramwise_cfg': cfg.optim_wrapper.get('paramwise_cfg')}
    if 'constructor' in cfg.optim_wrapper:
        wrapper['constructor'] = cfg.optim_wrapper.constructor
    return {**kind, **wrapper}


def device_name(device: torch.device) -> str:
    """The name of a GPU, or of the CPU as far as the system tells."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    info = Path('/proc/cpuinfo')
    found = re.search(r'^model name\s*: (.*)$', info.read_text() if info.exists() else '', re.M)
    return found[1] if found else platform.machine()
