"""The tools of the project, which lie in no package: imported, or run in processes of their own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.helpers.ranks import ROOT, forkserver


def tool_path(tool: str | Path) -> Path:
    """Path of a tool, from its name below ``tools/``: ``'analysis/selection_report'``."""
    return ROOT / 'tools' / f'{tool}.py' if isinstance(tool, str) else tool


@cache
def load_tool(tool: str | Path) -> ModuleType:
    """Import a tool, or a module beside it, once: some register classes.

    Args:
        tool: Its name below ``tools/``, or its path.
    """
    path = tool_path(tool)
    # As Python does when it starts a script, though last: tools have names like `test`.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    if path.stem.startswith('_'):
        # The very module that the tools import.
        return importlib.import_module(path.stem)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(
    tool: str | Path,
    *arguments: object,
    cwd: str | Path = ROOT,
    timeout: float | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a tool as a command, as ``subprocess.run`` does with its output captured as text.

    The process is forked from one that has imported the package, so it starts within
    milliseconds. Tests of what a process leaves behind need this (exit status, signals, memory);
    the others call ``load_tool(tool).main(arguments)``.

    Args:
        tool: Its name below ``tools/``, or its path.
        *arguments: Its command line.
        cwd: Current folder of the process.
        timeout: Seconds after which it is killed.
        **environment: Changes of the environment. Variables that are read when torch is imported
            have no effect.

    Raises:
        subprocess.TimeoutExpired: If it has not ended in time.
    """
    return ToolProcess(tool, *arguments, cwd=cwd, **environment).wait(timeout)


class ToolProcess:
    """A tool that runs, see :func:`run_tool`; for several at a time."""

    def __init__(
        self,
        tool: str | Path,
        *arguments: object,
        cwd: str | Path = ROOT,
        **environment: str,
    ) -> None:
        self.command = [str(tool_path(tool)), *map(str, arguments)]
        self._folder = tempfile.TemporaryDirectory()
        self._process = forkserver().Process(
            target=_run_command,
            args=(self.command, str(cwd), {**os.environ, **environment}, self._folder.name),
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def is_running(self) -> bool:
        return self._process.is_alive()

    def wait(self, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Wait for its end; negative return codes are signals.

        Raises:
            subprocess.TimeoutExpired: If it has not ended in time. It is killed.
        """
        try:
            self._process.join(timeout)
            if self.is_running():
                raise subprocess.TimeoutExpired(self.command, timeout, *self._output())
        finally:
            # A test that is interrupted must leave no process.
            self.kill()
            self._process.join()
        with self._folder:
            return subprocess.CompletedProcess(
                self.command, self._process.exitcode, *self._output()
            )

    def _output(self) -> list[str]:
        paths = [Path(self._folder.name, stream) for stream in ('stdout', 'stderr')]
        return [path.read_text() if path.exists() else '' for path in paths]


def rank_environments(world_size: int) -> list[dict[str, str]]:
    """Environments of processes that are to meet, as batch systems set them."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    return [
        {
            'RANK': str(rank),
            'LOCAL_RANK': str(rank),
            'WORLD_SIZE': str(world_size),
            'MASTER_ADDR': '127.0.0.1',
            'MASTER_PORT': str(port),
        }
        for rank in range(world_size)
    ]


def _run_command(command: list[str], cwd: str, environment: dict[str, str], output: str) -> None:
    for stream in ('stdout', 'stderr'):
        descriptor = os.open(Path(output, stream), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, getattr(sys, stream).fileno())
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = command
    sys.path[:0] = [os.path.dirname(command[0]), str(ROOT)]
    runpy.run_path(command[0], run_name='__main__')
