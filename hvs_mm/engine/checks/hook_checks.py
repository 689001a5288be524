"""Check the hooks of a training run."""

from __future__ import annotations

from copy import deepcopy

from mmengine.config import Config
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from torch import nn

from ...models.hvs_algorithm import selecting_model
from ...utils.class_name import class_name, configured_hooks
from ..hooks.gradient_hook import scaled_clipping


def build_hooks(cfg: Config, *names: str) -> list[Hook]:
    """Build the hooks of some classes, which checks their arguments and values."""
    # The priority is an argument of the Runner.
    return [
        HOOKS.build({name: deepcopy(v) for name, v in hook.items() if name != 'priority'})
        for hook in configured_hooks(cfg, *names)
    ]


def check_selection_hooks(cfg: Config, model: nn.Module) -> None:
    """Check the settings of the hooks that show the selection, and that the model selects views."""
    if build_hooks(cfg, 'SelectionStatsHook', 'SelectionPanelHook'):
        selecting_model(model)


def check_teacher(cfg: Config, model: nn.Module) -> None:
    """Check that ``custom_hooks`` has a hook that updates the teacher, if there is one.

    A list in a config replaces the inherited one, so ``custom_hooks`` are easily lost.
    """
    types = [class_name(hook) for hook in cfg.get('custom_hooks') or []]
    if hasattr(model, 'update_teacher') and 'TeacherHook' not in types:
        raise ValueError(
            f"custom_hooks={types} has no 'TeacherHook', without which the teacher of "
            f'{type(model).__name__} stays as it was initialized: add '
            "dict(type='TeacherHook', momentum=0.004), as configs/_base_/dino.py does."
        )


def check_clipping(cfg: Config) -> None:
    """Check that ``GradientHook`` clips no gradients that a fused optimizer unscales later."""
    wrapper = cfg.get('optim_wrapper') or {}
    is_fused = (wrapper.get('optimizer') or {}).get('fused')
    if class_name(wrapper) == 'AmpOptimWrapper' and is_fused and not wrapper.get('clip_grad'):
        for hook in configured_hooks(cfg, 'GradientHook'):
            if hook.get('clip') is not None:
                raise ValueError(scaled_clipping(hook['clip']))
