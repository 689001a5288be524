"""What goes wrong in long runs, done to a process of its own."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    """Ends the process as ``kill -9`` does, once at every fault.

    Args:
        folder: Where it notes which faults have happened, for the process that comes after.
        after: Iterations that it dies after, counted from 1.
        writing: Iterations whose checkpoint it dies of, half written.
        full: Iterations at whose checkpoint the disk is full.
        rank: Which of several processes dies after its iteration; the first one writes.
    """

    # Behind the hook that saves.
    priority = 'LOWEST'

    def __init__(
        self,
        folder: str,
        after: Sequence[int] = (),
        writing: Sequence[int] = (),
        full: Sequence[int] = (),
        rank: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.after, self.writing, self.full = after, writing, full
        self.rank = rank

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if self._is_due(runner, 'writing') or self._is_due(runner, 'full'):
            # No file may grow beyond this. A process gets a signal for that, which Python ignores.
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        if self._is_due(runner, 'writing'):
            self._note(runner, 'writing')
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.rank == self.rank and self._is_due(runner, 'after'):
            self._note(runner, 'after')
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_due(self, runner: Any, fault: str) -> bool:
        iteration = runner.iter + 1
        return iteration in getattr(self, fault) and not self._file(fault, iteration).exists()

    def _note(self, runner: Any, fault: str) -> None:
        self._file(fault, runner.iter + 1).touch()

    def _file(self, fault: str, iteration: int) -> Path:
        return self.folder / f'{fault}_{iteration}'
