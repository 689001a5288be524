"""Parse type names in configs."""

from __future__ import annotations

from typing import Any


def class_name(settings: Any) -> str:
    """The bare name of the class that settings name.

    Args:
        settings: A dict with a ``type``, which is a class, or its name with or without a scope
            (``'mmpretrain.PackViews'``) or module. Any other object stands for its own class.

    Returns:
        The name; an empty string if there is no ``type``.
    """
    kind = settings.get('type') if isinstance(settings, dict) else type(settings)
    return '' if kind is None else str(getattr(kind, '__name__', kind)).rpartition('.')[2]
