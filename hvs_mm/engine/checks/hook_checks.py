"""Checks of the hooks that show what is selected, before a run starts."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmpretrain.registry import HOOKS
from torch import nn

from ...models.hvs_algorithm import selecting_model
from ...utils.class_name import class_name

_SHOWING = ('SelectionStatsHook', 'SelectionPanelHook')


def check_selection_hooks(cfg: Config, model: nn.Module) -> None:
    """Check the settings of the hooks that show the selection, and that there is one.

    Args:
        cfg: The complete config.
        model: What it trains.

    Raises:
        TypeError: If a hook does not take an argument.
        ValueError: If it does not take its value, or the model selects no views.
    """
    for hook in configured_hooks(cfg):
        if class_name(hook) in _SHOWING:
            selecting_model(model)
            # The Runner takes the priority for itself.
            HOOKS.build({name: deepcopy(v) for name, v in hook.items() if name != 'priority'})


def configured_hooks(cfg: Config) -> list[dict[str, Any]]:
    """The hooks that a config names, by their configs."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    return [hook for hook in hooks if isinstance(hook, dict)]
