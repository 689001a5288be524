"""Parse type names in configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def class_name(settings: Any) -> str:
    """The bare name of the class that settings name; an empty string if they name none.

    Their ``type`` is a class, or its name with or without a scope (``'mmpretrain.PackViews'``) or
    module. Settings that are no dict stand for their own class.
    """
    kind = settings.get('type') if isinstance(settings, dict) else type(settings)
    return '' if kind is None else str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def configured_hooks(cfg: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    """The settings of the hooks of some classes, which are given by their bare names."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    return [hook for hook in hooks if isinstance(hook, dict) and class_name(hook) in names]
