"""Checkpoints, of which the older ones go when the newer one is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

#: What ends the name of a checkpoint that is being written.
UNFINISHED = '.unfinished'
_KEPT = 'kept_checkpoints'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, which removes old checkpoints only when the new one is written.

    MMEngine's own (0.10.7 and 0.10.12) removes them before. With ``max_keep_ckpts=1`` a process
    that is killed while it writes, or a full disk, leaves none. What such a process has left
    unfinished is removed when training starts.

    Args:
        max_keep_ckpts: How many to keep, all if -1. Defaults to -1.
        **kwargs: As for :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: If ``max_keep_ckpts`` is neither -1 nor positive.
    """

    def __init__(self, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_keep_ckpts < 1 and max_keep_ckpts != -1:
            raise ValueError(
                f'max_keep_ckpts={max_keep_ckpts} of the checkpoint hook must be at least 1, or -1 '
                'to keep all checkpoints.'
            )
        self._number = max_keep_ckpts

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._kept = list(runner.message_hub.runtime_info.get(_KEPT, ()))
        resumed = runner.message_hub.runtime_info.get('last_ckpt')
        if resumed is not None and runner.iter:
            # Which was not yet there when it was written.
            self._kept.append(resumed)
            runner.message_hub.update_info(_KEPT, self._kept)
        if is_main_process() and Path(self.out_dir).is_dir():
            for path in Path(self.out_dir).glob(f'.*{UNFINISHED}'):
                runner.logger.warning(f'{path} is half a checkpoint: removed.')
                path.unlink()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        self._remove_old(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        super().after_train_epoch(runner)
        self._remove_old(runner)

    def _remove_old(self, runner: Runner) -> None:
        if self.last_ckpt is None or self.last_ckpt in self._kept[-1:]:
            return
        self._kept = [path for path in self._kept if path != self.last_ckpt] + [self.last_ckpt]
        while 0 < self._number < len(self._kept):
            path = self._kept.pop(0)
            if is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
        runner.message_hub.update_info(_KEPT, self._kept)
