"""Build parts that MMPretrain's registry knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from .installed import HAS_MMPRETRAIN

__all__ = ['TASK_UTILS', 'build_part']

T = TypeVar('T')


class _PlainRegistry:
    """Stands in for MMPretrain's registry of classes where that is not installed."""

    def __init__(self) -> None:
        self.module_dict: dict[str, type] = {}

    def register_module(self) -> Callable[[type[T]], type[T]]:
        def register(cls: type[T]) -> type[T]:
            self.module_dict[cls.__name__] = cls
            return cls

        return register

    def get(self, name: str) -> type | None:
        return self.module_dict.get(name)


if HAS_MMPRETRAIN:
    from mmpretrain.registry import TASK_UTILS
else:
    TASK_UTILS = _PlainRegistry()


def build_part(
    name: str, settings: Any, base: type[T], known: Iterable[str], short: Mapping[str, type[T]] = {}
) -> T:
    """Build a part from a setting, a dict whose ``type`` is a class, or return one that is built.

    Args:
        name: Name of the setting.
        settings: Its value. The class is one in ``TASK_UTILS``, or has a dotted name in Python.
        base: Base class of the part.
        known: Names for the error about an unknown one.
        short: Classes by their short names.

    Raises:
        TypeError: If this is no such dict, or has an argument that the class does not take.
        ValueError: If there is no such class.
    """
    if isinstance(settings, base):
        return settings
    if not isinstance(settings, dict) or 'type' not in settings:
        simplest = f'one of {sorted(short)}' if short else 'None'
        raise TypeError(
            f'{name}={settings!r} must be {simplest}, a dict with a "type", or a {base.__name__}.'
        )
    kind = cls = settings['type']
    if isinstance(kind, str):
        try:
            cls = short.get(kind) or TASK_UTILS.get(kind)
        except (RuntimeError, TypeError, ValueError):
            # A name that no module can have, such as '' or '.x'.
            cls = None
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ValueError(
            f'{name}={kind!r} is not known: expected one of {sorted(known)} or the name of a '
            f'{base.__name__} class registered in mmpretrain.registry.TASK_UTILS.'
        )
    arguments = {key: value for key, value in settings.items() if key not in ('type', '_scope_')}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise TypeError(f'{name}={kind!r} does not take {arguments}: {error}') from error
