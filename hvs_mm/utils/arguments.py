"""Checks of arguments: one line that names the setting, its value and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import Any, TypeGuard


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a sequence that is no text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def is_whole(value: Any, least: float = -inf, most: float = inf) -> bool:
    """Whether a value is an integer within bounds; ``True`` and ``False`` are not."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: Any) -> bool:
    """Whether a value is a finite integer or float; ``True`` and ``False`` are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def check_whole(name: str, value: Any, least: int = 1, hint: str = '') -> int:
    """Return the value of a setting, or raise ``ValueError`` unless it is an integer >= ``least``.

    The message ends with the ``hint``: the meaning of the number, and the value to set instead.
    """
    if not is_whole(value, least):
        expected = f'must be an integer of at least {least}'
        raise ValueError(f'{name}={value!r} {expected}{": " + hint if hint else "."}')
    return value


def check_share(name: str, value: Any, zero: bool = True, hint: str = '') -> float:
    """Return the value of a setting as a float, or raise ``ValueError`` unless it is from 0 to 1.

    ``zero`` says whether 0 itself is allowed. For the ``hint`` see :func:`check_whole`.
    """
    if not is_number(value) or not 0 <= value <= 1 or (value == 0 and not zero):
        expected = 'must be between 0 and 1' if zero else 'must be above 0 and at most 1'
        raise ValueError(f'{name}={value!r} {expected}{": " + hint if hint else "."}')
    return float(value)


def check_choice(name: str, value: Any, known: Iterable[Any], hint: str = '') -> Any:
    """Return the value of a setting, or raise ``ValueError`` unless it is one of those known.

    For the ``hint`` see :func:`check_whole`.
    """
    choices = list(known)
    if value not in choices:
        expected = f'must be one of {choices}'
        raise ValueError(f'{name}={value!r} {expected}{": " + hint if hint else "."}')
    return value


def check_settings(name: str, settings: Any, known: Sequence[str]) -> dict[str, Any]:
    """Copy a nested setting, or raise ``TypeError`` unless it is a dict of known keys, or none."""
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise TypeError(f'{name}={settings!r} must be a dict with some of the keys {list(known)}.')
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise TypeError(
            f'{name} does not take {", ".join(map(repr, unknown))}: expected some of {list(known)}.'
        )
    return dict(settings)
