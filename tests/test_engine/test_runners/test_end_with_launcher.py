"""A process whose launcher is killed."""

from __future__ import annotations

import os
import signal
import time

import pytest

from hvs_mm.engine.runners import end_with_launcher as module
from hvs_mm.engine.runners.end_with_launcher import end_with_launcher


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f'/proc/{pid}/stat') as file:
        return file.read().rpartition(')')[2].split()[0] != 'Z'


@pytest.mark.parametrize('by_torchrun', [True, False])
def test_a_launcher_is_killed(monkeypatch, capfd, by_torchrun):
    monkeypatch.setattr(module, '_INTERVAL', 0.05)
    if by_torchrun:
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    reader, writer = os.pipe()
    launcher = os.fork()
    if not launcher:
        rank = os.fork()
        if not rank:
            end_with_launcher()
            # A lock that nobody releases, as a collective with a process that is gone.
            time.sleep(600)
            os._exit(3)
        os.write(writer, str(rank).encode())
        time.sleep(600)
    rank = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    try:
        time.sleep(0.1)
        os.kill(launcher, signal.SIGKILL)
        os.waitpid(launcher, 0)
        end = time.monotonic() + (30 if by_torchrun else 0.3)
        while is_alive(rank) and time.monotonic() < end:
            time.sleep(0.05)
        assert is_alive(rank) != by_torchrun
        said = f'error: torchrun (process {launcher}) has died'
        assert (said in capfd.readouterr().err) == by_torchrun
    finally:
        if is_alive(rank):
            os.kill(rank, signal.SIGKILL)
