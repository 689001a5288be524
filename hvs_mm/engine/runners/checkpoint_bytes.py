"""A checkpoint in memory, to be written while the training continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import Runner

_BACKEND = 'hvs_mm_memory'


@register_backend(_BACKEND)
class MemoryBackend(LocalBackend):
    """Keeps what is written, in ``written``, in place of making a file."""

    def __init__(self, written: list[bytes]) -> None:
        self.written = written

    def put(self, obj: bytes, filepath: str | Path) -> None:
        self.written.append(obj)


def checkpoint_bytes(runner: Runner, **settings: Any) -> bytes:
    """Return what MMEngine's ``Runner.save_checkpoint`` would write with some settings.

    Calls ``before_save_checkpoint`` of the hooks, which may raise.
    """
    written: list[bytes] = []
    backend = dict(backend=_BACKEND, written=written)
    Runner.save_checkpoint(runner, '', 'checkpoint', backend_args=backend, **settings)
    return written[0]
