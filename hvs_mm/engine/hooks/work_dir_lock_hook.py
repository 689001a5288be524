"""Keep other runs out of the work dir."""

from __future__ import annotations

import os
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import HOOKS

from ..runners.checkpoint_paths import CheckpointError, CheckpointPaths
from ..runners.work_dir_lock import WorkDirLock


@HOOKS.register_module()
class WorkDirLockHook(Hook):
    """Takes the lock of the work dir for the time of a training, see :class:`WorkDirLock`.

    Also that of the folder of its checkpoints, if it is another one. A process whose lock was taken
    over, for example because it was stopped for minutes and then continued, saves no checkpoint any
    more. :class:`ReliableRunner` has the hook by default.

    Raises:
        CheckpointError: In all processes, before training, if another run is in the work dir, and
            before a checkpoint, if the lock was taken over or the work dir removed.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._locks: list[WorkDirLock] = []

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop) or '://' in runner.work_dir:
            return
        error: list[Any] = [None]
        if is_main_process():
            folder = CheckpointPaths.from_config(runner.cfg, runner.work_dir).folder
            folders = {os.path.realpath(one): one for one in (folder, runner.work_dir)}
            try:
                # In one order, so that no two runs wait for each other.
                for place in sorted(name for name in folders if '://' not in folders[name]):
                    lock = WorkDirLock(folders[place])
                    lock.take()
                    self._locks.append(lock)
            except ValueError as refused:
                self.finally_train(runner)
                error = [str(refused)]
        broadcast_object_list(error)
        if error[0] is not None:
            raise CheckpointError(error[0])

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        lost = next((lock.path for lock in self._locks if not lock.is_mine()), None)
        if lost is None:
            return
        if not lost.exists():
            raise CheckpointError(
                f'{lost.parent} was removed while the run trained, or its {lost.name} was. No '
                'checkpoint is written. Restore it and continue with --resume, or start again.'
            )
        raise CheckpointError(
            f'{lost} is not of this process any more: another run has taken over {lost.parent}. '
            'No checkpoint is written. Continue with --resume when the other run has ended.'
        )

    def finally_train(self, runner: Runner) -> None:
        """Give the lock back, however the training has ended."""
        while self._locks:
            self._locks.pop().release()
