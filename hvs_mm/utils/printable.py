"""Text of others, fit for a terminal and for a file in UTF-8."""

from __future__ import annotations


def printable(text: object) -> str:
    """The text on one line, with everything that steers a terminal as an escape of Python.

    That is what ``repr`` escapes: control characters, separators of lines, characters that let text
    run backwards, and halves of surrogate pairs, which are bytes of file names that are no UTF-8.
    """
    return ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode('ascii')
        for character in str(text)
    )
