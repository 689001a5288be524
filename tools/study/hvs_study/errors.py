"""Checks of what users write, with the error that all of them raise."""

from __future__ import annotations

import re
from typing import Any

#: Names become part of run ids, and so of folder names.
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.]*')


class StudyError(ValueError):
    """A study file, a line of results or a block of a page that cannot be used."""


def expect(condition: object, message: str) -> None:
    """Raise a :class:`StudyError` with this message unless the condition holds."""
    if not condition:
        raise StudyError(message)


def check(where: str, value: Any, fits: object, expected: str) -> None:
    """Raise a :class:`StudyError` that names a setting and its value unless it fits."""
    expect(fits, f'{where}={value!r}: expected {expected}.')


def is_name(value: Any) -> bool:
    """Whether a value can name a study, a method or an arm."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
