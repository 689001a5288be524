"""Save checkpoints, and remove old ones only when the new one is complete."""

from __future__ import annotations

import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.atomic_write import UNFINISHED, atomic_write
from ..runners.checkpoint_paths import POINTER, CheckpointError, CheckpointPaths

#: MMEngine's own name, so that either hook knows the checkpoints of the other.
_KEPT = 'keep_ckpt_ids'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, but removes old checkpoints only when the new one is written.

    MMEngine's own (0.10.7 and 0.10.12) removes them before, the best one, too. With
    ``max_keep_ckpts=1`` a full disk, or a process that is killed while it writes, leaves none.
    Unfinished files of such a process are removed when training starts.

    A run that resumes from a checkpoint of another folder leaves that folder alone, whatever the
    checkpoint says.

    Raises:
        ValueError: If ``max_keep_ckpts`` is neither positive nor -1, which keeps all checkpoints.
    """

    def __init__(self, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_keep_ckpts < 1 and max_keep_ckpts != -1:
            raise ValueError(
                f'max_keep_ckpts={max_keep_ckpts} of the checkpoint hook must be at least 1, or -1 '
                'to keep all checkpoints.'
            )
        self._num_kept = max_keep_ckpts

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # Epochs or iterations in the names of the kept checkpoints.
        self._kept: list[int] = []
        paths = CheckpointPaths(runner.work_dir, str(self.out_dir), (self.filename_tmpl,))
        if runner.iter and runner._load_from and (own := paths.parse(runner._load_from)):
            saved = runner.message_hub.runtime_info.get(_KEPT)
            saved = saved if isinstance(saved, list) else []
            # The resumed checkpoint is not in its own list.
            self._kept = [s for s in saved if isinstance(s, int) and s != own[1]] + [own[1]]
        runner.message_hub.update_info(_KEPT, list(self._kept))
        if self.save_best:
            # Of these paths in the checkpoint only the names count.
            self._set_best({key: self._own_best(path) for key, path in self._best().items()})
        if is_main_process():
            for path in Path(self._path(0)).parent.glob(f'.*{UNFINISHED}'):
                runner.logger.warning(f'{path} is half a checkpoint: removed.')
                path.unlink()

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _own_best(self, path: Any) -> str | None:
        name = osp.basename(str(path))
        own = self.file_backend.join_path(self.out_dir, name)
        return own if name.startswith('best_') and self.file_backend.isfile(own) else None

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        # MMEngine removes the paths it knows before it saves.
        before = self._best()
        self._set_best(dict.fromkeys(before))
        super()._save_best_checkpoint(runner, metrics)
        after = self._best()
        self._set_best({key: path or before.get(key) for key, path in after.items()})
        for key, old in before.items():
            if old and after.get(key) not in (None, old):
                self._remove(old)

    def _best(self) -> dict[str, str | None]:
        """Paths of the best checkpoints by indicator; a single one has no name."""
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = paths

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        # MMEngine's in another order: save, point to it, remove old ones.
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            pointer = Path(runner.work_dir, POINTER)
            try:
                with atomic_write(pointer) as unfinished:
                    unfinished.write_text(self.last_ckpt)
            except OSError as error:
                raise CheckpointError(
                    f'{pointer} cannot be written ({error.strerror or error}). The last good '
                    f'checkpoint is {self.last_ckpt}. Make room and continue with --resume.'
                ) from error
        self._kept = [kept for kept in self._kept if kept != step] + [step]
        while 0 < self._num_kept < len(self._kept):
            self._remove(self._path(self._kept.pop(0)))
        runner.message_hub.update_info(_KEPT, list(self._kept))

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
