"""A Runner whose runs can be killed and resumed without a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import RUNNERS

from ...utils.atomic_write import atomic_write
from ...utils.class_name import class_name
from ..optim.resumed_schedules import resumed_differences, schedule_settings
from .checkpoint_paths import (
    CheckpointError,
    CheckpointPaths,
    agreed_checkpoint,
    last_good_checkpoint,
)

#: Default hooks of MMEngine (0.10.7 and 0.10.12).
_MMENGINE_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint',
}  # fmt: skip


@RUNNERS.register_module()
class ReliableRunner(Runner):
    """MMEngine's Runner for long runs.

    - The loop over epochs is :class:`ResumableEpochLoop`, ``CheckpointHook`` becomes
      :class:`SafeCheckpointHook`, and a killed write leaves no broken checkpoint.
    - ``resume=True`` without ``load_from`` takes the newest checkpoint that can be read.
    - A resumed run warns if its schedules are not those of the config.
    - ``default_hooks`` have ``trust``, a :class:`CheckpointTrustHook`, and ``scalar_history``, a
      :class:`ScalarHistoryHook`; None leaves one out.

    Configs choose it by ``runner_type='ReliableRunner'``.
    """

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        # Both a type and by_epoch are an error, which MMEngine raises.
        if isinstance(loop, dict) and ('type' in loop) != ('by_epoch' in loop):
            is_by_epoch = loop.get('by_epoch') or class_name(loop) == 'EpochBasedTrainLoop'
            if is_by_epoch:
                loop = {**loop, 'type': 'mmpretrain.ResumableEpochLoop'}
                loop.pop('by_epoch', None)
        return super().build_train_loop(loop)

    def register_default_hooks(self, hooks: dict[str, Hook | dict[str, Any]] | None = None) -> None:
        hooks = {
            'checkpoint': dict(type='CheckpointHook', interval=1),
            'scalar_history': dict(type='mmpretrain.ScalarHistoryHook'),
            'trust': dict(type='CheckpointTrustHook'),
            **(hooks or {}),
        }
        checkpoint = hooks['checkpoint']
        if isinstance(checkpoint, dict) and class_name(checkpoint) == 'CheckpointHook':
            hooks['checkpoint'] = {**checkpoint, 'type': 'mmpretrain.SafeCheckpointHook'}
        # MMEngine only drops its own default hooks when set to None; drop ours here.
        hooks = {k: v for k, v in hooks.items() if v is not None or k in _MMENGINE_HOOKS}
        super().register_default_hooks(hooks)

    def load_or_resume(self) -> None:
        """Load or resume; raise ``ValueError`` if there are checkpoints but none can be read."""
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = agreed_checkpoint(
                CheckpointPaths.from_config(self.cfg, self.work_dir)
            )
            if self._load_from is None and '://' not in self.work_dir:
                # MMEngine would search again, and trust a pointer to a missing file.
                self.logger.info(f'There is no checkpoint in {self.work_dir} to resume from.')
                return
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint, and warn of schedules that are not those of the config."""
        configured = schedule_settings(self.param_schedulers)
        super().resume(filename, *args, **kwargs)
        info = self.message_hub.runtime_info
        old, new = {True: info.get('max_epochs'), False: info.get('max_iters')}, {}
        if None not in old.values():
            new = {True: self.max_epochs, False: self.max_iters}
        differences = resumed_differences(self.param_schedulers, configured, old, new)
        if differences:
            self.logger.warning(
                f'Schedules continue as they are in {filename}: {"; ".join(differences)}. For '
                'those of the config start a new run from its weights, with '
                f'load_from={filename} and resume=False.'
            )

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, backend_args: Any = None, **kwargs: Any
    ) -> None:
        """Save a checkpoint; raise ``CheckpointError`` and keep an older file if that fails.

        All processes call ``before_checkpoint`` of the hooks first, unlike MMEngine's
        ``before_save_checkpoint``, which only the first process calls.
        """
        self.call_hook('before_checkpoint')
        if not is_main_process():
            return
        kwargs['backend_args'] = backend_args
        if backend_args is not None or '://' in str(out_dir):
            # Remote storage has its own ways to write complete files.
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir, filename)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as unfinished:
                super().save_checkpoint(str(unfinished.parent), unfinished.name, *args, **kwargs)
        except OSError as error:
            last = last_good_checkpoint(self)
            last = f'The last good checkpoint is {last}.' if last else 'There is none before it.'
            raise CheckpointError(
                f'{path} cannot be written ({error.strerror or error}). {last} Make room, or name '
                'another folder with default_hooks.checkpoint.out_dir, and continue with --resume.'
            ) from error
