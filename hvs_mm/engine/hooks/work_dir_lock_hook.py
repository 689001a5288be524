"""Keep other runs out of the work dir."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import HOOKS

from ..runners.checkpoint_paths import CheckpointError
from ..runners.work_dir_lock import WorkDirLock


@HOOKS.register_module()
class WorkDirLockHook(Hook):
    """Takes the lock of the work dir for the time of a training, see :class:`WorkDirLock`.

    A process whose lock was taken over, for example because it was stopped for minutes and then
    continued, saves no checkpoint any more. :class:`ReliableRunner` has the hook by default.

    Raises:
        ValueError: In all processes, before training, if another run is in the work dir.
        CheckpointError: If the lock was taken over.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._lock: WorkDirLock | None = None

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop) or '://' in runner.work_dir:
            return
        error: list[Any] = [None]
        if is_main_process():
            lock = WorkDirLock(runner.work_dir)
            try:
                lock.take()
                self._lock = lock
            except ValueError as refused:
                error = [refused]
        broadcast_object_list(error)
        if error[0] is not None:
            raise error[0]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self._lock is not None and not self._lock.is_mine():
            raise CheckpointError(
                f'{self._lock.path} is not of this process any more: another run has taken over '
                f'{runner.work_dir}, or the file was removed. No checkpoint is written. Continue '
                'with --resume when the other run has ended.'
            )

    def finally_train(self, runner: Runner) -> None:
        """Give the lock back, however the training has ended."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
