"""One run in a work dir at a time."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from ...utils.folder_lock import folder_lock
from ...utils.process_identity import ProcessIdentity

#: File in the work dir that names the process of the run.
LOCK = '.run_lock.json'
#: Seconds from one sign of life to the next, and without one after which a run counts as dead.
_BEAT, _STALE = 10.0, 60.0


class WorkDirLock:
    """The right of a process to write into a work dir.

    The file :data:`LOCK` names host, process and time, and gets a new time every 10 s. Where it is
    left behind, it is taken over: at once if its process can be seen to be gone, and otherwise, as
    on another host, if it has had no new time for 60 s on the own clock.

    Args:
        work_dir: The folder, which is made.
    """

    def __init__(self, work_dir: str | os.PathLike) -> None:
        self.path = Path(work_dir, LOCK)
        self._token = secrets.token_hex(8)
        self._released = threading.Event()

    def take(self) -> None:
        """Take the lock, after a wait for the signs of life of a process on another host.

        Raises:
            ValueError: If another process has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mine = self.path.with_name(f'{LOCK}.{self._token}')
        entry = {**ProcessIdentity.own()._asdict(), 'token': self._token}
        entry['time'] = time.strftime('%Y-%m-%d %H:%M:%S %z')
        mine.write_text(json.dumps(entry))
        try:
            while not self._link(mine):
                self._clear()
        finally:
            mine.unlink()
        self._released.clear()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        """Give the lock back, if this process still has it."""
        self._released.set()
        if self.is_mine():
            self.path.unlink()

    def is_mine(self) -> bool:
        """Whether this process has it, and no other has taken it over."""
        return (_read(self.path) or {}).get('token') == self._token

    def _link(self, mine: Path) -> bool:
        try:
            # Of several processes one succeeds, on NFS as well.
            os.link(mine, self.path)
        except FileExistsError:
            return False
        except OSError:
            # File systems without hard links.
            return self._create(mine.read_text())
        return True

    def _create(self, text: str) -> bool:
        try:
            with open(self.path, 'x') as file:
                file.write(text)
        except FileExistsError:
            return False
        return True

    def _clear(self) -> None:
        """Remove the lock of a dead process, or raise."""
        text = _text(self.path)
        if text is None:
            return
        found = _parse(text)
        if found is not None and self._is_held(found):
            raise ValueError(
                f'work_dir={self.path.parent}: process {found["pid"]} on {found["host"]} has '
                f'trained in it since {found["time"]}. End it, or name another folder with '
                '--work-dir.'
            )
        # Another process may do the same, and have taken the lock since it was read.
        with folder_lock(self.path.parent):
            if _text(self.path) == text:
                self.path.unlink(missing_ok=True)

    def _is_held(self, found: dict[str, Any]) -> bool:
        identity = ProcessIdentity(*(found[name] for name in ProcessIdentity._fields))
        is_alive = identity.is_alive()
        if is_alive is not None:
            return is_alive
        print(
            f'{self.path.parent} belongs to process {found["pid"]} on {found["host"]}: waiting '
            f'{_STALE:.0f} s for a sign of life.',
            flush=True,
        )
        before, end = _modified(self.path), time.monotonic() + _STALE
        while time.monotonic() < end:
            time.sleep(min(1.0, _STALE / 10))
            if _modified(self.path) not in (before, None):
                return True
        return False

    def _beat(self) -> None:
        while not self._released.wait(_BEAT):
            try:
                if self.is_mine():
                    os.utime(self.path)
            except OSError:
                # The folder is away for a moment, as network drives are.
                continue


def _read(path: Path) -> dict[str, Any] | None:
    """The entry of a lock; None if there is none, or it is not one of ours."""
    text = _text(path)
    return None if text is None else _parse(text)


def _text(path: Path) -> str | None:
    """The text of a lock; None if there is none, empty if it cannot be read."""
    try:
        return path.read_text(errors='replace')
    except FileNotFoundError:
        return None
    except OSError:
        return ''


def _parse(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    names = {*ProcessIdentity._fields, 'token', 'time'}
    return found if isinstance(found, dict) and names <= found.keys() else None


def _modified(path: Path) -> int | None:
    try:
        # Opened, for NFS to ask its server.
        with open(path, 'rb') as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
