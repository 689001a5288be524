"""Checks of the settings in study files and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from math import inf
from typing import Any, NamedTuple


class StudyError(ValueError):
    """A study file, a line of results or a block of a page that cannot be used."""


class Kind(NamedTuple):
    """A test that a value has to pass, and words for it."""

    fits: Callable[[Any], bool]
    expected: str


def expect(condition: object, message: str) -> None:
    """Raise a :class:`StudyError` with this message unless the condition holds."""
    if not condition:
        raise StudyError(message)


def check(where: str, value: Any, kind: Kind | list[Any] | dict[Any, Any]) -> None:
    """Check a value and all that is in it.

    Args:
        where: Name of the value; empty for the whole file or block.
        value: The value.
        kind: A :class:`Kind`; ``[kind]`` for a list that is not empty; or a dict of kinds by key,
            in which keys that end in ``?`` may be missing and a :class:`Kind` stands for all other
            keys, which must pass it.

    Raises:
        StudyError: If something does not fit, with its place, its value and what was expected.
    """
    if isinstance(kind, Kind):
        expect(kind.fits(value), f'{where}={value!r}: expected {kind.expected}.')
    elif isinstance(kind, list):
        is_filled = isinstance(value, (list, tuple)) and value
        expect(is_filled, f'{where}={value!r}: expected a list that is not empty.')
        for number, item in enumerate(value):
            check(f'{where}.{number}' if isinstance(kind[0], dict) else where, item, kind[0])
    else:
        is_dict = isinstance(value, dict)
        expect(is_dict, f'{where}={value!r}: expected a dict, see docs/studies.md.')
        place = f'{where}.' if where else ''
        other = next((key for key in kind if isinstance(key, Kind)), None)
        kinds = {key.removesuffix('?'): inner for key, inner in kind.items() if key is not other}
        for key, item in value.items():
            close = get_close_matches(str(key), kinds, n=1)
            hint = f'did you mean {close[0]!r}?' if close else f'expected one of {list(kinds)}.'
            unknown = f'{place}{key}={item!r}: there is no such setting; {hint}'
            expect(key in kinds or other, unknown)
            if key not in kinds:
                check(where, key, other)
            check(f'{place}{key}', item, kinds[key] if key in kinds else kind[other])
        for key in kinds:
            is_there = key in value or key not in kind
            expect(is_there, f'{place}{key} is missing; docs/studies.md shows it.')


def one_of(choices: Iterable[Any]) -> Kind:
    """One of some choices."""
    choices = list(choices)
    return Kind(lambda value: value in choices, f'one of {choices}')


def whole(least: int, most: float = inf) -> Kind:
    """A whole number between bounds."""
    upper = '' if most == inf else f' and at most {most}'
    expected = f'a whole number, at least {least}{upper}'
    return Kind(lambda value: WHOLE.fits(value) and least <= value <= most, expected)


NUMBER = Kind(lambda v: isinstance(v, (int, float)) and not isinstance(v, bool), 'a number')
WHOLE = Kind(lambda v: isinstance(v, int) and not isinstance(v, bool), 'a whole number')
TEXT = Kind(lambda value: isinstance(value, str), 'a text')
#: Names become part of run ids, and so of folder names.
NAME = Kind(
    lambda value: isinstance(value, str) and bool(re.fullmatch('[A-Za-z0-9][A-Za-z0-9_.]*', value)),
    'letters, digits, "_" and ".", the first a letter or a digit: it is in file names',
)
OPTIONS = Kind(
    lambda value: isinstance(value, dict) and all(isinstance(key, str) for key in value),
    "settings by dotted keys, {'model.selector': 'random'}",
)
