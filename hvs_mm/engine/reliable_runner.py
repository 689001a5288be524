"""A Runner whose runs can be killed, and go on as if nothing had happened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.registry import RUNNERS

from .latest_checkpoint import agreed_checkpoint, latest_readable_checkpoint
from .resumed_schedules import (
    built_schedulers,
    ended_before_the_run,
    other_than_configured,
    schedule_settings,
)
from .safe_checkpoint_hook import UNFINISHED


class CheckpointError(Exception):
    """A checkpoint could not be written."""


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
    - Logged numbers do not pile up: there is a :class:`ScalarHistoryHook`, unless
      ``default_hooks.scalar_history`` says otherwise.

    Configs choose it by ``runner_type='ReliableRunner'``, as ``configs/_base_/hvs.py`` does.
    """

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the train loop."""
        if isinstance(loop, dict):
            loop = dict(loop)
            is_by_epoch = loop.pop('by_epoch', None)
            kind = loop.get('type')
            name = str(getattr(kind, '__name__', kind)).rpartition('.')[2]
            if is_by_epoch or name == 'EpochBasedTrainLoop':
                loop['type'] = 'mmpretrain.ResumableEpochLoop'
            elif is_by_epoch is not None:
                loop['by_epoch'] = is_by_epoch
        return super().build_train_loop(loop)

    def register_default_hooks(self, hooks: dict[str, Hook | dict[str, Any]] | None = None) -> None:
        """Register the default hooks."""
        hooks = dict(hooks or {})
        checkpoint = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))
        if isinstance(checkpoint, dict) and checkpoint['type'] == 'CheckpointHook':
            hooks['checkpoint'] = {**checkpoint, 'type': 'mmpretrain.SafeCheckpointHook'}
        history = hooks.setdefault('scalar_history', dict(type='mmpretrain.ScalarHistoryHook'))
        if history is None:
            del hooks['scalar_history']
        super().register_default_hooks(hooks)

    def load_or_resume(self) -> None:
        """Load or resume from a checkpoint.

        Raises:
            ValueError: If it is to resume, and there are checkpoints but none can be read.
        """
        if self._resume and self._load_from is None and not self._has_loaded:
            # ``None`` starts anew, as ever.
            self._load_from = agreed_checkpoint(self.work_dir)
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
        unfinished = path.with_name(f'.{filename}{UNFINISHED}')
        try:
            super().save_checkpoint(out_dir, unfinished.name, *args, **kwargs)
            _flush(unfinished)
            os.replace(unfinished, path)
            _flush(path.parent)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise CheckpointError(
                f'{path} cannot be written ({error.strerror or error}). '
                f'{_what_is_left(self.work_dir)} Make room, or name another folder with '
                'default_hooks.checkpoint.out_dir, and go on with --resume.'
            ) from error


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on disk: a machine may lose its power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _what_is_left(work_dir: str) -> str:
    try:
        last = latest_readable_checkpoint(work_dir)
    except ValueError:
        last = None
    return f'The last good checkpoint is {last}.' if last else 'There is no checkpoint before it.'
