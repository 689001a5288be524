"""Checkpoints of sharded models and optimizers: whole, with the keys of those that are not."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.runner import Runner
from torch import nn

from ...utils.sharded_tensor import collect, is_sharded, sharded_like
from ...utils.unwrap_model import unwrap_model


def save_whole_model(module: nn.Module) -> None:
    """Make ``state_dict()`` give whole tensors in the first process, and loading take such.

    From then on all processes must call ``state_dict()`` of ``module`` together. MMEngine loads
    module by module, and so it is each module that takes its part.
    """
    module.register_state_dict_post_hook(_collect_model)
    for one in module.modules():
        if any(is_sharded(parameter) for parameter in one._parameters.values()):
            one.register_load_state_dict_pre_hook(_shard_model)


def save_whole_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """As :func:`save_whole_model`, for an optimizer of sharded parameters."""
    optimizer.register_state_dict_post_hook(_collect_optimizer)
    optimizer.register_load_state_dict_pre_hook(_shard_optimizer)


def help_saving(runner: Runner, save_optimizer: bool = True) -> None:
    """Take part in collecting what the first process saves.

    All other processes must call it while the first one is in MMEngine's ``save_checkpoint``. Does
    nothing if the model is not sharded.
    """
    if any(map(is_sharded, runner.model.parameters())):
        # In MMEngine's order.
        unwrap_model(runner.model).state_dict()
        if save_optimizer:
            runner.optim_wrapper.state_dict()


def _collect_model(module: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    for name, value in state.items():
        state[name] = collect(value)


def _shard_model(module: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    for name, parameter in module._parameters.items():
        if parameter is not None and prefix + name in state:
            state[prefix + name] = sharded_like(state[prefix + name], parameter)


def _collect_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    # The inner dicts are the optimizer's own.
    entries = {
        number: {name: collect(value) for name, value in one.items()}
        for number, one in state['state'].items()
    }
    return {**state, 'state': entries}


def _shard_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    saved = [number for group in state['param_groups'] for number in group['params']]
    parameters = [one for group in optimizer.param_groups for one in group['params']]
    like = dict(zip(saved, parameters))
    entries = {
        number: {name: sharded_like(value, like[number]) for name, value in one.items()}
        if number in like
        else one
        for number, one in state['state'].items()
    }
    return {**state, 'state': entries}
