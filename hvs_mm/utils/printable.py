"""Text of others, fit for a terminal and for a file in UTF-8."""

from __future__ import annotations

import unicodedata

#: Control characters, halves of surrogate pairs (bytes of file names that are no UTF-8) and line
#: separators.
_UNFIT = ('Cc', 'Cs', 'Zl', 'Zp')
#: Let text run backwards: what is shown would differ from what is there.
_BIDIRECTIONAL = frozenset(
    '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'
)


def printable(text: object) -> str:
    """The text on one line, with everything that steers a terminal as an escape of Python."""
    return ''.join(
        character.encode('unicode_escape').decode('ascii')
        if unicodedata.category(character) in _UNFIT or character in _BIDIRECTIONAL
        else character
        for character in str(text)
    )
