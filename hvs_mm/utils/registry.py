"""What stands under a name in MMPretrain's registry."""

from __future__ import annotations

from typing import Any

from mmpretrain.registry import TASK_UTILS


def look_up(name: str) -> Any:
    """What ``TASK_UTILS`` has under a name, or Python under a dotted one; ``None`` if nothing.

    Args:
        name: Whatever a config says.
    """
    try:
        return TASK_UTILS.get(name)
    except (RuntimeError, TypeError, ValueError):
        # What comes of a name that cannot be one of a module, such as '' or '.x'.
        return None
