"""A Runner whose runs can be killed, and go on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import RUNNERS

from ...utils.atomic_write import atomic_write
from ...utils.class_name import class_name
from ..optim.resumed_schedules import (
    built_schedulers,
    ended_before_the_run,
    other_than_configured,
    schedule_settings,
)
from .checkpoint_paths import CheckpointError, CheckpointPaths
from .latest_checkpoint import agreed_checkpoint, latest_readable_checkpoint

#: Hooks of MMEngine (0.10.7 and 0.10.12), which ``None`` takes out of a run.
_MMENGINES = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}


@RUNNERS.register_module()
class ReliableRunner(Runner):
    """MMEngine's Runner for long runs.

    - The loop over epochs is :class:`ResumableEpochLoop`: a run that was killed goes on where its
      last checkpoint was saved, in an epoch, too, with the images, views and random numbers that
      it would have had.
    - Checkpoints are written to another file, which is renamed when it is complete and on disk.
    - ``resume=True`` without ``load_from`` takes the newest checkpoint that can be read.
    - A run that is resumed says so if its schedules are not those of the config.
    - ``CheckpointHook`` becomes :class:`SafeCheckpointHook`.
    - No checkpoint is read that can run code: there is a :class:`CheckpointTrustHook`, unless
      ``default_hooks.trust`` says otherwise.
    - Logged numbers do not pile up: there is a :class:`ScalarHistoryHook`, unless
      ``default_hooks.scalar_history`` says otherwise.

    Configs choose it by ``runner_type='ReliableRunner'``, as ``configs/_base_/hvs.py`` does.
    """

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the train loop."""
        if isinstance(loop, dict):
            loop = dict(loop)
            # Together they are an error, which MMEngine tells of.
            if 'type' not in loop and loop.get('by_epoch'):
                del loop['by_epoch']
                loop['type'] = 'mmpretrain.ResumableEpochLoop'
            elif 'by_epoch' not in loop and class_name(loop) == 'EpochBasedTrainLoop':
                loop['type'] = 'mmpretrain.ResumableEpochLoop'
        return super().build_train_loop(loop)

    def register_default_hooks(self, hooks: dict[str, Hook | dict[str, Any]] | None = None) -> None:
        """Register the default hooks."""
        hooks = {
            'checkpoint': dict(type='CheckpointHook', interval=1),
            'scalar_history': dict(type='mmpretrain.ScalarHistoryHook'),
            'trust': dict(type='CheckpointTrustHook'),
            **(hooks or {}),
        }
        checkpoint = hooks['checkpoint']
        if isinstance(checkpoint, dict) and class_name(checkpoint) == 'CheckpointHook':
            hooks['checkpoint'] = {**checkpoint, 'type': 'mmpretrain.SafeCheckpointHook'}
        # MMEngine lets nobody leave out others than its own.
        hooks = {k: v for k, v in hooks.items() if v is not None or k in _MMENGINES}
        super().register_default_hooks(hooks)

    def load_or_resume(self) -> None:
        """Load or resume from a checkpoint.

        Raises:
            ValueError: If it is to resume, and there are checkpoints but none can be read.
        """
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = agreed_checkpoint(CheckpointPaths.of_runner(self))
            if self._load_from is None and '://' not in self.work_dir:
                # MMEngine would look once more, and trust a pointer to what is gone.
                self.logger.info(f'There is no checkpoint in {self.work_dir} to go on from.')
                return
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint, and warn of schedules that are not those of the config.

        Args:
            filename: Of the checkpoint.
            *args: As for MMEngine's Runner, and
            **kwargs: so are these.
        """
        configured = [schedule_settings(one) for one in built_schedulers(self.param_schedulers)]
        super().resume(filename, *args, **kwargs)
        schedulers = built_schedulers(self.param_schedulers)
        known = self.message_hub.runtime_info
        found = other_than_configured(schedulers, configured)
        if 'max_epochs' in known and 'max_iters' in known:
            before = {True: known['max_epochs'], False: known['max_iters']}
            now = {True: self.max_epochs, False: self.max_iters}
            found += ended_before_the_run(schedulers, before, now)
        if found:
            self.logger.warning(
                f'Schedules go on as they are in {filename}: {"; ".join(found)}. For those of the '
                f'config begin a new run from its weights, with load_from={filename} and '
                'resume=False.'
            )

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, backend_args: Any = None, **kwargs: Any
    ) -> None:
        """Save a checkpoint.

        Hooks may act before that in ``before_checkpoint``, which all processes call, unlike
        MMEngine's ``before_save_checkpoint``, which is the first one's alone.

        Args:
            out_dir: The folder.
            filename: In it.
            *args: As for MMEngine's Runner, and
            backend_args: so is this one,
            **kwargs: and these.

        Raises:
            CheckpointError: If the file cannot be written. What was there before stays.
        """
        self.call_hook('before_checkpoint')
        if not is_main_process():
            return
        kwargs['backend_args'] = backend_args
        if backend_args is not None or '://' in str(out_dir):
            # What is not a file of this machine has its own ways of being complete.
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir, filename)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as unfinished:
                super().save_checkpoint(str(unfinished.parent), unfinished.name, *args, **kwargs)
        except OSError as error:
            raise CheckpointError(
                f'{path} cannot be written ({error.strerror or error}). '
                f'{self._what_is_left()} Make room, or name another folder with '
                'default_hooks.checkpoint.out_dir, and go on with --resume.'
            ) from error

    def _what_is_left(self) -> str:
        try:
            last = latest_readable_checkpoint(CheckpointPaths.of_runner(self))
        except ValueError:
            last = None
        return (
            f'The last good checkpoint is {last}.' if last else 'There is no checkpoint before it.'
        )
