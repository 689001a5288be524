"""Look up names in MMPretrain's registry."""

from __future__ import annotations

from typing import Any

from mmpretrain.registry import TASK_UTILS


def look_up(name: str) -> Any:
    """Look up a name of a config in ``TASK_UTILS``, or a dotted one in Python; else ``None``."""
    try:
        return TASK_UTILS.get(name)
    except (RuntimeError, TypeError, ValueError):
        # A name that no module can have, such as '' or '.x'.
        return None
