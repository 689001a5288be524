"""Momentum teachers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ...utils.sharded_tensor import local_part


def build_teacher(**modules: nn.Module) -> nn.ModuleDict:
    """Copy modules of the student into a teacher: no gradient, no stochastic depth."""
    teacher = nn.ModuleDict({name: deepcopy(module) for name, module in modules.items()})
    teacher.requires_grad_(False)
    for module in teacher.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return teacher


@contextmanager
def loaded_names(module: nn.Module) -> Iterator[set[str]]:
    """Yield a set that has, after the block, the names of the tensors that a checkpoint filled."""
    before: dict[str, int] = {}
    loaded: set[str] = set()

    def versions() -> dict[str, int]:
        return {name: tensor._version for name, tensor in module.state_dict(keep_vars=True).items()}

    # From the moment of loading on: writes of other initializers do not count.
    handle = module._register_load_state_dict_pre_hook(lambda *args: before.update(versions()))
    try:
        yield loaded
    finally:
        handle.remove()
        after = versions()
        loaded.update(name for name in before if after[name] != before[name])


def is_random(module: nn.Module) -> bool:
    """Whether outputs depend on chance: dropout or stochastic depth, in train mode."""
    for child in module.modules():
        if not child.training:
            continue
        if isinstance(child, nn.modules.dropout._DropoutNd) and child.p > 0:
            return True
        if isinstance(child, DropPath) and child.drop_prob:
            return True
        # MMPretrain's attention drops by a rate of its own, not by a module.
        if getattr(child, 'attn_drop', 0) and isinstance(child.attn_drop, float):
            return True
    return False


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters towards the student's, ``t = (1 - m) t + m s``.

    The momentum ``m`` follows MMEngine's convention: DINO's 0.996 is 0.004 here.

    Raises:
        ValueError: If a process does not hold the same parts of both.
    """
    averaged: list[Tensor] = [local_part(parameter) for parameter in teacher.parameters()]
    online = [local_part(parameter.detach()) for parameter in student.parameters()]
    if [one.shape for one in averaged] != [one.shape for one in online]:
        raise ValueError(
            "the parameters of teacher and student have different shapes: under MMEngine's FSDP "
            'strategy and stage 3 of DeepSpeed a process holds other parts of the one than of the '
            'other. Shard with --cfg-options model_wrapper_cfg.type=FullyShard, see '
            'docs/scaling.md.'
        )
    torch._foreach_lerp_(averaged, online, momentum)
