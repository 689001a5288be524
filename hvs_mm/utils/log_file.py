"""A log file whose faults are not printed over and over."""

from __future__ import annotations

import logging
import sys


class LogFile(logging.FileHandler):
    """Writes lines in UTF-8, whatever the locale; raises ``OSError`` if the disk is full.

    ``logging`` itself prints a traceback in place of each line, and the program continues.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding='utf-8', errors='backslashreplace')

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- of logging
        """Called while the error of a line is handled."""
        if isinstance(sys.exc_info()[1], OSError):
            raise
        super().handleError(record)


def use_log_file(logger: logging.Logger) -> None:
    """Let a logger write its files by :class:`LogFile`."""
    for handler in list(logger.handlers):
        if type(handler) is logging.FileHandler:
            file = LogFile(handler.baseFilename)
            file.setLevel(handler.level)
            file.setFormatter(handler.formatter)
            file.filters = handler.filters
            logger.removeHandler(handler)
            handler.close()
            logger.addHandler(file)
