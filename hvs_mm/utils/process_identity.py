"""Tell processes apart, across hosts, containers and numbers that come again."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class ProcessIdentity(NamedTuple):
    """A process.

    Attributes:
        host: Name of its host.
        place: What numbers of processes are relative to: the boot of the host, and the container.
        pid: Its number there.
        started: When it started, in clock ticks since the boot; 0 if that is unknown.
    """

    host: str
    place: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """The process that calls it."""
        boot = namespace = ''
        with suppress(OSError):
            boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
            namespace = os.readlink('/proc/self/ns/pid')
        host, pid = socket.gethostname(), os.getpid()
        return cls(host, f'{host} {boot} {namespace}', pid, _start_of(pid))

    def is_alive(self) -> bool | None:
        """Whether the process runs; ``None`` if that cannot be seen from here."""
        if self.place != ProcessIdentity.own().place:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # It is somebody else's.
            pass
        return _start_of(self.pid) == self.started


def _start_of(pid: int) -> int:
    """When a process started; 0 if that is unknown, -1 if it has ended."""
    try:
        # The name of the program, in parentheses, may hold blanks.
        state, *rest = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        # A process that has ended, whose parent has not asked how, keeps its number.
        return -1 if state in 'ZX' else int(rest[18])
    except (OSError, IndexError, ValueError):
        return 0
