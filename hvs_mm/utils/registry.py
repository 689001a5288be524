"""Look up names in MMPretrain's registry."""

from __future__ import annotations

from typing import Any, TypeVar

from mmpretrain.registry import TASK_UTILS

T = TypeVar('T')


def look_up(kind: Any, base: type[T]) -> type[T] | None:
    """The subclass of ``base`` that a config means; ``None`` if there is no such class.

    Args:
        kind: The class, its name in ``TASK_UTILS``, or a dotted one in Python.
        base: Its base class.
    """
    if isinstance(kind, str):
        try:
            kind = TASK_UTILS.get(kind)
        except (RuntimeError, TypeError, ValueError):
            # A name that no module can have, such as '' or '.x'.
            return None
    return kind if isinstance(kind, type) and issubclass(kind, base) else None
