"""A Runner whose runs can be killed and resumed without a difference."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmpretrain.engine import SimSiamHook, SwAVHook
from mmpretrain.registry import RUNNERS
from torch import nn
from torch.utils.data import DataLoader

from ...utils.class_name import class_name
from ...utils.console import hold_back_noise, log_to_console, quiet_logger
from ...utils.log_file import use_log_file
from ..checks.resumed_settings import changed_settings, describe_changes, settings_in_effect
from ..hooks.swav_queue_hook import SwAVQueueHook
from ..optim.hardness_schedule import connect_hardness_schedules
from ..optim.resumed_schedules import resumed_differences, schedule_settings
from .checkpoint_paths import CheckpointPaths, agreed_checkpoint, writing_checkpoint
from .end_with_launcher import end_with_launcher
from .fully_shard import FullyShard
from .loader_workers import shield_workers, with_timeout
from .sharded_state import help_saving, save_whole_optimizer

#: Default hooks of MMEngine (0.10.7 and 0.10.12).
_MMENGINE_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint',
}  # fmt: skip
_CONSOLE = {'type': 'ConsoleHook'}


@RUNNERS.register_module()
class ReliableRunner(Runner):
    """MMEngine's Runner for long runs.

    - The loop over epochs is :class:`ResumableEpochLoop`, ``CheckpointHook`` becomes
      :class:`SafeCheckpointHook`, and a killed write leaves no broken checkpoint.
    - ``resume=True`` without ``load_from`` takes the newest checkpoint that can be read.
    - A resumed run warns if its schedules are not those of the config.
    - ``default_hooks`` have ``trust``, a :class:`CheckpointTrustHook`, ``scalar_history``, a
      :class:`ScalarHistoryHook`, ``threads``, a :class:`ThreadsHook`, ``preemption``, a
      :class:`PreemptionHook`, and ``lock``, a :class:`WorkDirLockHook`; None leaves one out.
    - However a training ends, ``finally_train`` of the hooks is called.
    - A loader with workers has a timeout, and its workers get no signals of the training.
    - Processes that torchrun has started end when it dies.
    - A model in :class:`FullyShard` is saved and loaded whole.
    - The console gets short lines and warnings, see :class:`ConsoleHook`. MMEngine's log goes only
      to its file, unless ``default_hooks.console`` is ``None`` or has ``verbose=True``.

    Configs choose it by ``runner_type='ReliableRunner'``.
    """

    #: The last checkpoint that this run saved or resumed from, and the iterations done by then.
    last_saved: tuple[str, int] | None = None
    # Of the base class, which has no types.
    _load_from: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        end_with_launcher()
        super().__init__(*args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, and keep all but warnings out of the console."""
        logger = super().build_logger(*args, **kwargs)
        use_log_file(logger)
        if self._is_quiet():
            quiet_logger(logger)
        return logger

    def _is_quiet(self) -> bool:
        console = (self.cfg.get('default_hooks') or {}).get('console', _CONSOLE)
        return console is not None and not console.get('verbose')

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict[str, Any], *args: Any, **kwargs: Any
    ) -> DataLoader:
        """Build a loader whose workers may not hang, and get no signals of the training."""
        if isinstance(dataloader, dict):
            dataloader = with_timeout(dataloader)
        loader = Runner.build_dataloader(dataloader, *args, **kwargs)
        shield_workers(loader)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        # Both a type and by_epoch are an error, which MMEngine raises.
        if isinstance(loop, dict) and ('type' in loop) != ('by_epoch' in loop):
            is_by_epoch = loop.get('by_epoch') or class_name(loop) == 'EpochBasedTrainLoop'
            if is_by_epoch:
                loop = {**loop, 'type': 'mmpretrain.ResumableEpochLoop'}
                loop.pop('by_epoch', None)
        return super().build_train_loop(loop)

    def register_hooks(
        self,
        default_hooks: dict[str, Hook | dict[str, Any]] | None = None,
        custom_hooks: list[Hook | dict[str, Any]] | None = None,
    ) -> None:
        """Register all hooks, and the one that ends the run behind those of its priority."""
        default_hooks = dict(default_hooks or {})
        preemption = default_hooks.pop('preemption', dict(type='mmpretrain.PreemptionHook'))
        super().register_hooks(default_hooks, custom_hooks)
        if any(isinstance(hook, SwAVHook) for hook in self.hooks):
            self.register_hook(SwAVQueueHook())
        if preemption is not None:
            self.register_hook(preemption)

    def register_default_hooks(self, hooks: dict[str, Hook | dict[str, Any]] | None = None) -> None:
        hooks = {
            'checkpoint': dict(type='CheckpointHook', interval=1),
            'scalar_history': dict(type='mmpretrain.ScalarHistoryHook'),
            'threads': dict(type='mmpretrain.ThreadsHook'),
            'trust': dict(type='CheckpointTrustHook'),
            'lock': dict(type='mmpretrain.WorkDirLockHook'),
            'console': {},
            **(hooks or {}),
        }
        if isinstance(hooks['console'], dict):
            hooks['console'] = {**_CONSOLE, **hooks['console']}
        checkpoint = hooks['checkpoint']
        if isinstance(checkpoint, dict) and class_name(checkpoint) == 'CheckpointHook':
            hooks['checkpoint'] = {**checkpoint, 'type': 'mmpretrain.SafeCheckpointHook'}
        # MMEngine only drops its own default hooks when set to None; drop ours here.
        hooks = {k: v for k, v in hooks.items() if v is not None or k in _MMENGINE_HOOKS}
        super().register_default_hooks(hooks)

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict[str, Any] | None = None
    ) -> None:
        """Scale every learning rate with the batch size.

        MMEngine (0.10.7 and 0.10.12) scales those of the optimizer alone: not the rate to which
        ``SimSiamHook`` sets the predictor back, nor the rate at which a schedule ends.
        """
        super().scale_lr(optim_wrapper, auto_scale_lr)
        if auto_scale_lr is None or not auto_scale_lr.get('enable'):
            return
        batch = get_world_size() * self.train_dataloader.batch_size
        ratio = batch / auto_scale_lr['base_batch_size']
        for hook in self.hooks:
            if isinstance(hook, SimSiamHook):
                hook.lr *= ratio
        schedulers = self.param_schedulers or []
        for one in [schedulers] if isinstance(schedulers, dict) else schedulers:
            if isinstance(one, dict) and class_name(one).endswith('LR') and one.get('eta_min'):
                one['eta_min'] *= ratio

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer; that of a sharded model is saved and loaded whole."""
        built = super().build_optim_wrapper(optim_wrapper)
        if isinstance(self.model, FullyShard) and built is not optim_wrapper:
            save_whole_optimizer(built.optimizer)
        return built

    def _init_model_weights(self) -> None:
        # What is sharded was initialized before.
        if not isinstance(self.model, FullyShard):
            super()._init_model_weights()

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers, and connect those of the selection with the model."""
        built = super().build_param_scheduler(scheduler)
        connect_hardness_schedules(built, self.model)
        return built

    def train(self) -> nn.Module:
        """Train; however that ends, call ``finally_train`` of the hooks."""
        try:
            return super().train()
        finally:
            self.call_hook('finally_train')

    def load_or_resume(self) -> None:
        """Load or resume; raise ``ValueError`` if there are checkpoints but none can be read."""
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = agreed_checkpoint(
                CheckpointPaths.from_config(self.cfg, self.work_dir)
            )
            if self._load_from is None and '://' not in self.work_dir:
                # MMEngine would search again, and trust a pointer to a missing file.
                text = f'There is no checkpoint in {self.work_dir} to resume from.'
                log_to_console(self.logger, text, f'{text} Training starts from the beginning.')
                return
        with hold_back_noise() if self._is_quiet() else nullcontext():
            super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint, and warn of settings that are not those of the config."""
        configured = schedule_settings(self.param_schedulers)
        settings = self.message_hub.get_info('cfg')
        if isinstance(self.model, FullyShard):
            # A GPU perhaps cannot hold all of it.
            kwargs.setdefault('map_location', 'cpu')
        super().resume(filename, *args, **kwargs)
        self._tell_changes(settings)
        self.last_saved = filename, self.iter
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

    def _tell_changes(self, settings: str | None) -> None:
        """Warn of settings that are not those of the checkpoint, which the hub has loaded."""
        if settings is None:
            return
        before = self.message_hub.get_info('cfg')
        changed = changed_settings(before, settings)
        for text in describe_changes(changed) if changed else ():
            self.logger.warning(text)
        # The next checkpoint has it.
        self.message_hub.update_info('cfg', settings_in_effect(before, settings))

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, backend_args: Any = None, **kwargs: Any
    ) -> None:
        """Save a checkpoint; raise ``CheckpointError`` and keep an older file if that fails.

        All processes call ``before_checkpoint`` of the hooks first, unlike MMEngine's
        ``before_save_checkpoint``, which only the first process calls.
        """
        self.call_hook('before_checkpoint')
        if not is_main_process():
            help_saving(self, kwargs.get('save_optimizer', True))
            return
        kwargs['backend_args'] = backend_args
        if backend_args is not None or '://' in str(out_dir):
            # Remote storage has its own ways to write complete files.
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir, filename)
        # MMEngine saves by epochs after it has counted the iteration, by iterations before that.
        done = self.iter if kwargs.get('by_epoch', True) else self.iter + 1
        with writing_checkpoint(self, path) as unfinished:
            super().save_checkpoint(str(unfinished.parent), unfinished.name, *args, **kwargs)
        if kwargs.get('save_optimizer', True):
            # Without the optimizer, as the best one is saved, nothing resumes from it.
            self.last_saved = str(path), done
