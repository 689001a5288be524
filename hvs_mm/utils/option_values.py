"""Settings on a command line, ``KEY=VALUE``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

_QUOTES = '\'"'
_WORDS = {'true': True, 'false': False, 'None': None}


class OptionValues(argparse.Action):
    """Collects ``KEY=VALUE`` into a dict of parsed values, see :func:`parse_value`.

    MMEngine's ``DictAction`` removes all blanks from a value, also from the name of a folder.
    """

    # With ``nargs='+'`` the values are a list.
    def __call__(  # type: ignore[override]
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in values:
            key, equals, value = text.partition('=')
            if not (key and equals):
                parser.error(f'{option_string} {text!r}: expected KEY=VALUE')
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                parser.error(f'{option_string} {key}=...: {error}')
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """Parse numbers, ``true``, ``false``, ``None`` and lists of them; all else is text as it is.

    A list is ``1,2`` or ``[1,2]``, a tuple ``(1,2)``, and both may hold others. Blanks around their
    entries do not count. Text in quotes is text, also with commas: ``"a,b"``.

    Raises:
        ValueError: If a bracket has no partner.

    Examples:
        >>> parse_value('[1, 0.5, (a b, None)]')
        [1, 0.5, ('a b', None)]
        >>> parse_value('/my images, /others')
        ['/my images', '/others']
        >>> parse_value('"/my images, others"')
        '/my images, others'
    """
    inner = text.strip()
    if len(inner) > 1 and inner[0] in _QUOTES and inner[0] == inner[-1]:
        unquoted = inner[1:-1]
        # MMEngine takes off quotes around a list, which a shell may have left.
        return parse_value(unquoted) if unquoted[:1] in ('[', '(') else unquoted
    if (inner[:1], inner[-1:]) in (('[', ']'), ('(', ')')):
        items = [parse_value(part) for part in _split(inner[1:-1])]
        return tuple(items) if inner[0] == '(' else items
    if ',' in inner:
        return [parse_value(part) for part in _split(inner)]
    for kind in (int, float):
        try:
            return kind(inner)
        except ValueError:
            continue
    return _WORDS.get(inner if inner == 'None' else inner.lower(), text)


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets and no quotes; leave out empty parts."""
    parts, depth, quote = [''], 0, None
    for character in text:
        if quote is not None:
            quote = None if character == quote else quote
        elif character in _QUOTES:
            quote = character
        else:
            depth += (character in '([') - (character in ')]')
        if depth < 0:
            break
        if character == ',' and not depth and quote is None:
            parts.append('')
        else:
            parts[-1] += character
    if depth:
        raise ValueError(f'a bracket in {text!r} has no partner. Put text into quotes.')
    return [part.strip() for part in parts if part.strip()]
