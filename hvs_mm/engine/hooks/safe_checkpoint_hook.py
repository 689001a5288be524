"""Save checkpoints, and remove old ones only when the new one is complete."""

from __future__ import annotations

import os
import os.path as osp
import time
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.arguments import is_number
from ...utils.atomic_write import UNFINISHED, atomic_write
from ..optim.step_end import is_end_of_step
from ..runners.agreed_maximum import AgreedMaximum
from ..runners.background_task import BackgroundTask
from ..runners.checkpoint_bytes import checkpoint_bytes
from ..runners.checkpoint_paths import (
    INTERIM,
    POINTER,
    CheckpointError,
    CheckpointPaths,
    writing_checkpoint,
)
from ..runners.cpu_distributed import configured_timeout
from ..runners.sharded_state import help_saving

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

    Between the checkpoints that ``interval`` asks for, an interim one is saved after the step at
    which the last one is ``minutes`` old. The training stops only while it is copied into memory; a
    thread writes it. The next checkpoint of either kind replaces it. Where ``out_dir`` is remote
    storage there are no interim ones.

    Args:
        max_keep_ckpts: Checkpoints to keep, -1 for all; interim ones do not count.
        minutes: Most minutes between two checkpoints, also fractions; None for no interim ones.
        **kwargs: As for MMEngine's ``CheckpointHook``.

    Raises:
        ValueError: If ``max_keep_ckpts`` is neither positive nor -1, which keeps all checkpoints,
            or ``minutes`` is not above 0.
    """

    def __init__(self, max_keep_ckpts: int = -1, minutes: float | None = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_keep_ckpts < 1 and max_keep_ckpts != -1:
            raise ValueError(
                f'max_keep_ckpts={max_keep_ckpts} of the checkpoint hook must be at least 1, or -1 '
                'to keep all checkpoints.'
            )
        if minutes is not None and not (is_number(minutes) and minutes > 0):
            raise ValueError(
                f'minutes={minutes!r} of the checkpoint hook must be a number above 0, the most '
                'minutes between two checkpoints, or None for no interim ones.'
            )
        self._num_kept = max_keep_ckpts
        self._minutes = minutes
        self._writing = BackgroundTask()
        self._agreed: AgreedMaximum | None = None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # Epochs or iterations in the names of the kept checkpoints.
        self._kept: list[int] = []
        names = self.filename_tmpl, INTERIM
        paths = CheckpointPaths(runner.work_dir, str(self.out_dir), names)
        if runner.iter and runner._load_from and (own := paths.parse(runner._load_from)):
            saved = runner.message_hub.runtime_info.get(_KEPT)
            saved = saved if isinstance(saved, list) else []
            template, number = own
            # The resumed checkpoint is not in its own list, and an interim one is in none.
            itself = [] if template == INTERIM else [number]
            self._kept = [s for s in saved if isinstance(s, int) and s not in itself] + itself
        runner.message_hub.update_info(_KEPT, list(self._kept))
        if self.save_best:
            # Of these paths in the checkpoint only the names count.
            self._set_best({key: self._own_best(path) for key, path in self._best().items()})
        if is_main_process():
            for path in Path(self._path(0)).parent.glob(f'.*{UNFINISHED}'):
                runner.logger.warning(f'{path} is half a checkpoint: removed.')
                path.unlink()
        self._has_interim = self._minutes is not None and self.can_save_interim
        if self._has_interim:
            self._agreed = AgreedMaximum(configured_timeout(runner.cfg))
        self._saved_at = time.monotonic()
        #: Iterations in the last checkpoint that ``interval`` asked for.
        self._regular_at = 0

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        self._writing.check()
        # Between the steps of accumulated gradients nothing is saved, as these would be lost.
        if self._agreed is None or not is_end_of_step(runner):
            return
        if self._agreed(int(self.is_due())):
            self.save_due(runner)

    def take_agreement(self) -> AgreedMaximum | None:
        """Leave it to the caller to ask :meth:`is_due` and let all processes agree on the answer.

        Returns what they agree by; ``None`` without interim checkpoints.
        """
        agreed, self._agreed = self._agreed, None
        return agreed

    def is_due(self) -> bool:
        """Whether this process, the first one, finds that an interim checkpoint is due."""
        if self._minutes is None or not self._has_interim or not is_main_process():
            return False
        return time.monotonic() - self._saved_at >= 60 * self._minutes

    def save_due(self, runner: Runner) -> None:
        """:meth:`save_interim` of one that is due, unless the step has saved one anyway."""
        # All processes have agreed before they look at that.
        if self._regular_at != runner.iter + 1:
            self.save_interim(runner)

    def after_train(self, runner: Runner) -> None:
        super().after_train(runner)
        self._writing.finish()

    @property
    def can_save_interim(self) -> bool:
        """Whether interim checkpoints can be saved: not to remote storage."""
        return '://' not in str(self.out_dir)

    def save_interim(self, runner: Runner) -> None:
        """Save a checkpoint after the current iteration, see :meth:`wait_until_saved`.

        All processes must call it together, from ``after_train_iter`` of a hook.
        """
        started = self._saved_at = time.monotonic()
        self._writing.finish()
        runner.call_hook('before_checkpoint')
        if not is_main_process():
            help_saving(runner)
            return
        done = runner.iter + 1
        path = Path(str(self.out_dir), INTERIM.format(done))
        content = checkpoint_bytes(
            runner, meta=dict(epoch=runner.epoch, iter=done), by_epoch=False, **self.args
        )
        pause = time.monotonic() - started

        def write() -> None:
            with writing_checkpoint(runner, path) as unfinished:
                unfinished.write_bytes(content)
            self._point_to(runner, str(path))
            self._remove_interim(path)
            runner.last_saved = str(path), done
            took = time.monotonic() - started
            runner.logger.info(
                f'{path} is written, {took:.2f} s after iteration {done}; the training paused for '
                f'{pause:.2f} s of them.'
            )

        self._writing.start(write)

    def wait_until_saved(self) -> None:
        """Wait until the last checkpoint is written; raise ``CheckpointError`` if it cannot be."""
        self._writing.finish()

    def _remove_interim(self, kept: Path | None = None) -> None:
        for path in Path(str(self.out_dir)).glob(INTERIM.format('*')):
            if path != kept:
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
        self._writing.finish()
        self._saved_at, self._regular_at = time.monotonic(), meta['iter']
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
            self._point_to(runner, self.last_ckpt)
            self._remove_interim()
        self._kept = [kept for kept in self._kept if kept != step] + [step]
        while 0 < self._num_kept < len(self._kept):
            self._remove(self._path(self._kept.pop(0)))
        runner.message_hub.update_info(_KEPT, list(self._kept))

    @staticmethod
    def _point_to(runner: Runner, path: str) -> None:
        pointer = Path(runner.work_dir, POINTER)
        try:
            with atomic_write(pointer) as unfinished:
                unfinished.write_bytes(os.fsencode(path))
        except OSError as error:
            raise CheckpointError(
                f'{pointer} cannot be written ({error.strerror or error}). The last good '
                f'checkpoint is {path}. Make room and continue with --resume.'
            ) from error

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
