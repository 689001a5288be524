"""What reaches the console of a run, besides the lines that ``ConsoleHook`` prints.

This is the only place that decides it: :data:`NOISE` lists what is held back and who says it.
The log file of a run gets everything.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mmengine.dist import is_main_process

#: Messages that a user can do nothing about, as regular expressions.
NOISE = (
    # mmpretrain/datasets/__init__.py prints it in every process: an optional package is missing.
    r'^Could not import OneDL',
    # mmcv/cnn/bricks/transformer.py, when MMCV was installed without compiled operators. Only
    # detection needs some, and gets them from torchvision.
    r'^Fail to import ``MultiScaleDeformableAttention``',
    # setuptools below 81, which MMEngine 0.10.7 imports.
    r'^pkg_resources is deprecated',
    # mmengine/optim/optimizer/default_constructor.py, once for every weight of a teacher.
    r'is skipped since its requires_grad=False$',
    # mmengine/hooks/checkpoint_hook.py uses what mmengine/fileio deprecates.
    r'^"FileClient" will be deprecated',
    r'^"HardDiskBackend" is the alias of',
    # mmengine/runner/checkpoint.py prints it. ConsoleHook says from where a run starts.
    r'^Loads checkpoint by \w+ backend from path',
)
#: Longest message; all of it is in the log file.
_MAX_LENGTH = 600

#: What :func:`hold_back_noise` held back in this process.
_held_back: list[str] = []
#: Warnings that this run has shown already.
_shown: set[str] = set()


def is_noise(text: str) -> bool:
    """Whether a message is one of :data:`NOISE`."""
    return any(re.search(pattern, text) for pattern in NOISE)


@contextmanager
def hold_back_noise() -> Iterator[None]:
    """Hold back :data:`NOISE` that packages print or warn of, for example on being imported."""
    show, printed = warnings.showwarning, io.StringIO()

    def show_others(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if is_noise(str(message)):
            _held_back.append(f'warning: {message}')
        else:
            show(message, *args, **kwargs)

    warnings.showwarning = show_others
    try:
        with redirect_stdout(printed):
            yield
    finally:
        warnings.showwarning = show
        for line in printed.getvalue().splitlines():
            if is_noise(line):
                _held_back.append(line)
            else:
                print(line)


def print_held_back() -> None:
    """Print what :func:`hold_back_noise` held back, in the first process."""
    if is_main_process():
        for line in _held_back:
            print(line)


def forget_shown() -> None:
    """Let the warnings of the next run reach the console, even if they were shown before."""
    _shown.clear()


def log_to_console(logger: logging.Logger, text: str, short: str | None = None) -> None:
    """Log a message that is meant for the console, too, where ``short`` takes its place."""
    logger.info(text, extra={'console': short or text})


def quiet_logger(logger: logging.Logger) -> None:
    """Let only warnings, once each, and :func:`log_to_console` through to the console.

    Files that the logger writes to are left alone.
    """
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setFormatter(_ShortFormatter())
            handler.addFilter(_reaches_console)


@contextmanager
def short_warnings() -> Iterator[None]:
    """Show Python's warnings in one line, once each and only in the first process."""
    show = warnings.showwarning

    def show_short(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        text = f'warning: {_one_line(str(message))}'
        if not is_noise(str(message)) and text not in _shown and is_main_process():
            _shown.add(text)
            print(text, file=sys.stderr, flush=True)

    warnings.showwarning = show_short
    try:
        yield
    finally:
        warnings.showwarning = show


class _ShortFormatter(logging.Formatter):
    """One line a message, without time and name of the logger."""

    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, 'console'):
            return record.console
        return f'{record.levelname.lower()}: {_one_line(record.getMessage())}'


def _reaches_console(record: logging.LogRecord) -> bool:
    if hasattr(record, 'console'):
        return True
    text = record.getMessage()
    if record.levelno < logging.WARNING or is_noise(text) or text in _shown:
        return False
    _shown.add(text)
    return True


def _one_line(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= _MAX_LENGTH else f'{text[:_MAX_LENGTH]} ... (see the log file)'
