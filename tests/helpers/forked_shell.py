"""A shell in which ``python`` and ``hvs-mm`` start within milliseconds.

A server that has imported the package forks a process for every command; what stands in the shell's
PATH only passes on its arguments and its streams. Importing anew would take 8 seconds a command.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_CLIENT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = dict(argv=[os.path.basename(sys.argv[0]), *sys.argv[1:]], cwd=os.getcwd(),
                   environment=dict(os.environ))
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(16) or 1))
"""
_COMMANDS = ('python', 'hvs-mm')
#: What the commands would import, one after the other.
_IMPORTED = ('mmpretrain.models', 'hvs_mm.runs', 'hvs_mm.recipes', 'hvs_mm.engine')
_IMPORTED += (
    'hvs_mm.evaluation',
    'hvs_mm.weights',
    'hvs_mm.reports',
    'sklearn.linear_model',
    'pandas',
)


@contextmanager
def forked_shell(folder: Path) -> Iterator[Mapping[str, str]]:
    """Serve commands as long as the block lasts; gives the environment for shells.

    Args:
        folder: Empty, for the commands and the socket.
    """
    address = str(folder / 'socket')
    for name in _COMMANDS:
        path = folder / name
        path.write_text(_CLIENT.format(python=sys.executable, address=address))
        path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        command = [sys.executable, '-m', __name__, str(listener.fileno())]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        yield {**os.environ, 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'}
    finally:
        server.kill()
        server.wait()


def _serve(listener: socket.socket) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    # MMEngine collects garbage for every data set, which a million imported objects make slow.
    gc.freeze()
    # Children are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            code = 1
            try:
                message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
                code = _run(json.loads(message), streams)
            finally:
                # Loader workers that live on would hold the streams of the command open.
                atexit._run_exitfuncs()
                connection.sendall(str(code).encode())
                os._exit(code)
        connection.close()


def _run(request: Mapping[str, object], streams: list[int]) -> int:
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.chdir(request['cwd'])
    os.environ.update(request['environment'])
    name, *argv = request['argv']
    try:
        _run_command(name, argv)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _run_command(name: str, argv: list[str]) -> None:
    if name == 'hvs-mm':
        from hvs_mm_cli.main import main

        sys.argv = [name, *argv]
        main(argv)
    elif argv[0] == '-c':
        sys.argv = argv
        exec(compile(argv[1], '-c', 'exec'), {'__name__': '__main__'})
    elif argv[0] == '-m':
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = argv
        sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
        runpy.run_path(argv[0], run_name='__main__')


if __name__ == '__main__':
    _serve(socket.socket(fileno=int(sys.argv[1])))
