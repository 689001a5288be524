"""A process that works off functions, and that nothing they do can take the others down with."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Letters of a reason, and of the output of a process that died.
_REASON, _OUTPUT = 240, 4000
#: The file with that output.
_PRINTED = 'printed.txt'


class NotRunError(Exception):
    """A part cannot run here; the message says what it needs."""


def attempt(function: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a function, and return what became of it.

    Returns:
        ``status``: ``'measured'``, ``'not run'`` or ``'failed'``, the last one also if the result
        has an entry ``failed`` with the reason; ``reason`` in one line; ``result``; and after an
        error ``traceback``.
    """
    try:
        result = function(**arguments)
    except NotRunError as error:
        return {'status': 'not run', 'reason': one_line(error), 'result': None}
    except (Exception, SystemExit) as error:
        text = traceback.format_exc()
        reason = f'{type(error).__name__}: {one_line(error)}'
        return {'status': 'failed', 'reason': reason, 'result': None, 'traceback': text}
    reason = result.pop('failed', None)
    return {'status': 'failed' if reason else 'measured', 'reason': reason, 'result': result}


def one_line(error: BaseException) -> str:
    """The beginning of an error's message, in one line."""
    text = ' '.join(str(error).split())
    return text if len(text) <= _REASON else f'{text[:_REASON]} ...'


class Worker:
    """Runs functions in a process of its own, which imports the package once.

    After a part that fails, dies or is stopped the next one gets a fresh process: an error of CUDA
    would stay. As a context manager it leaves no process behind.

    Args:
        tidy: Called in the process after every part that ran.
    """

    def __init__(self, tidy: Callable[[], object] = gc.collect) -> None:
        self._tidy = tidy
        # Not forked: CUDA cannot be used in the child of a process that has asked for its devices.
        self._context = multiprocessing.get_context('spawn')
        self._process: Any = None
        self._connection: Any = None
        #: For what the process prints, and its temporary files, which a killed one would leave.
        self._folder: Any = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def __call__(
        self, function: Callable[..., Any], arguments: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """As :func:`attempt`; the status is ``'stopped'`` if it takes longer than ``seconds``."""
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            if self._connection.poll(seconds):
                outcome = self._connection.recv()
            else:
                outcome = {'status': 'stopped', 'reason': None, 'result': None}
        except (EOFError, OSError):
            outcome = self._death()
        except BaseException:
            self.end()
            raise
        if outcome['status'] in ('failed', 'stopped'):
            self.end()
        return outcome

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
            self._connection.close()
            self._folder.cleanup()
            self._process = None

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._connection, other = self._context.Pipe()
        arguments = (other, self._folder.name, self._tidy)
        self._process = self._context.Process(target=_serve, args=arguments)
        self._process.start()
        other.close()

    def _death(self) -> dict[str, Any]:
        self._process.join(10)
        printed = Path(self._folder.name, _PRINTED)
        text = printed.read_text(errors='replace')[-_OUTPUT:] if printed.exists() else ''
        reason = f'the process died with exit code {self._process.exitcode}'
        return {'status': 'failed', 'reason': reason, 'result': None, 'traceback': text}


def _serve(connection: Any, folder: str, tidy: Callable[[], object]) -> None:
    # The first process ends this one at an interrupt from the keyboard.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = folder
    descriptor = os.open(Path(folder, _PRINTED), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        outcome = attempt(function, arguments)
        connection.send(outcome)
        if outcome['status'] == 'measured':
            tidy()
