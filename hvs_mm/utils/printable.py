"""Text of others, fit for a terminal and for a file in UTF-8."""

from __future__ import annotations

from pathlib import Path


def printable(text: object) -> str:
    """The text on one line, with everything that steers a terminal as an escape of Python.

    That is what ``repr`` escapes: control characters, separators of lines, characters that let text
    run backwards, and halves of surrogate pairs, which are bytes of file names that are no UTF-8.
    """
    return ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode('ascii')
        for character in str(text)
    )


def is_unicode(path: str | Path) -> bool:
    """Whether libraries in C++ can open a path, which they take as UTF-8.

    Bytes that are no text in the encoding of the system, such as all beyond ASCII under
    ``LC_ALL=C``, stand in Python's paths as surrogates, which UTF-8 does not have.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
