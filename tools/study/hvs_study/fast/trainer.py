"""A training loop with the parts of a config, without a Runner."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import count
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import HOOKS, PARAM_SCHEDULERS
from torch import Tensor, nn

from hvs_mm.engine import SelectionStatsHook, build_model
from hvs_mm.engine.optim.hardness_schedule import connect_hardness_schedules
from hvs_mm.engine.runners.seeded_draws import seed_all
from hvs_mm.models import HVSAlgorithm
from hvs_mm.utils.class_name import class_name

from ..schema import StudyError
from .views import BatchedViews

#: Hooks of ``custom_hooks`` that change the training; they see this trainer as their runner.
_ACTING = {'TeacherHook', 'GradientHook', 'SimSiamHook'}
#: Hooks that only show something.
_WATCHING = {'ProgressHook', 'HealthHook', 'KNNHook', 'SelectionStatsHook', 'SelectionPanelHook'}
#: Each training has a message hub of its own.
_NUMBERS = count()


class Batches:
    """Batches of an epoch: the order depends on the seed and the epoch, views also on the batch."""

    num_workers = 0

    def __init__(self, views: BatchedViews, loader: dict[str, Any], seed: int) -> None:
        self.views, self.dataset, self.seed = views, views.images, seed
        self.batch_size, self.drop_last = loader['batch_size'], loader.get('drop_last', False)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def of_epoch(self, epoch: int) -> Iterator[dict[str, Any]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.dataset), generator=generator)
        for number, indices in enumerate(order.split(self.batch_size)[: len(self)]):
            yield self.views.draw(indices, [self.seed, epoch, number])


class FastTrainer:
    """Trains the model of a config with its optimizer, schedules and acting hooks.

    A step is ``model.train_step``, as in the Runner. Hooks see the attributes of a Runner here that
    they read.

    Args:
        cfg: The config of a run, with the seed in ``randomness``.
        batches: What it trains on.
        start: Epoch in which the schedules of hooks begin; up to it they keep their first values.
            ``param_scheduler`` has its own settings for that.
        exact: Compute steps as the Runner does, bit for bit. Otherwise rounding differs.

    Raises:
        StudyError: If a hook of the config is unknown.
    """

    def __init__(self, cfg: Config, batches: Batches, start: int = 0, exact: bool = False) -> None:
        self.cfg, self.train_dataloader, self.start = cfg, batches, start
        self.epoch, self.step = 0, 0
        self.max_epochs = cfg.train_cfg.max_epochs
        self._info: dict[str, Any] = {}
        self.train_loop = self._train_loop = SimpleNamespace(dataloader=batches)
        self.visualizer, self.timestamp = SimpleNamespace(add_scalars=self._collect), ''
        #: What ``SelectionStatsHook`` has shown, an entry for each epoch.
        self.shown: list[dict[str, float]] = []
        self.seed = cfg.randomness.seed
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            # Before anything else: the weights depend on the seed and the algorithm alone.
            seed_all(self.seed)
            self.model = build_model(cfg)
            self.model.init_weights()
            self.model.to(batches.dataset.device)
            settings = deepcopy(cfg.optim_wrapper)
            if not exact:
                _make_fast(self.model, settings.optimizer)
            self.optim_wrapper = build_optim_wrapper(self.model, settings)
            _merge_groups(self.optim_wrapper.optimizer)
            self.param_schedulers = self._build_schedulers(cfg.get('param_scheduler') or [])
            self.hooks = self._build_hooks(cfg.get('custom_hooks') or [])
        connect_hardness_schedules(self.param_schedulers, self.model)

    @property
    def iter(self) -> int:
        """Iterations since the schedules began; hooks compute their own schedules from it."""
        return max(self.step - self.start * len(self.train_dataloader), 0)

    @property
    def max_iters(self) -> int:
        return max((self.max_epochs - self.start) * len(self.train_dataloader), 1)

    def _build_schedulers(self, configs: Any) -> list[Any]:
        configs = [configs] if isinstance(configs, dict) else configs
        length, built = len(self.train_dataloader), []
        for one in configs:
            ends = {True: self.max_epochs, False: self.max_epochs * length}
            one = {'end': ends[one.get('by_epoch', True)], **deepcopy(dict(one))}
            added = dict(optimizer=self.optim_wrapper, epoch_length=length)
            built.append(PARAM_SCHEDULERS.build(one, default_args=added))
        return built

    def _build_hooks(self, configs: Sequence[dict[str, Any]]) -> list[Hook]:
        unknown = {class_name(one) for one in configs} - _ACTING - _WATCHING
        if unknown:
            raise StudyError(
                f"engine='fast' does not know the hooks {sorted(unknown)} of custom_hooks: it has "
                f"{sorted(_ACTING)}. Use engine='runner'."
            )
        # They act at different times, whatever their priorities.
        settings = [{k: v for k, v in one.items() if k != 'priority'} for one in configs]
        hooks = [HOOKS.build(one) for one in settings if class_name(one) in _ACTING]
        if isinstance(self.model, HVSAlgorithm):
            hooks.append(SelectionStatsHook(interval=len(self.train_dataloader)))
        return hooks

    def call_hooks(self, name: str, *args: Any) -> None:
        for hook in self.hooks:
            getattr(hook, name)(self, *args)

    def before_training(self) -> None:
        """Get ready; call it once, after a checkpoint was loaded."""
        iters = self.max_epochs * len(self.train_dataloader)
        # Models read the newest hub, which another training may have made since.
        self.message_hub = hub = MessageHub.get_instance(f'fast_{next(_NUMBERS)}')
        for name, value in self._info.items():
            hub.update_info(name, value)
        hub.update_info('max_epochs', self.max_epochs)
        hub.update_info('max_iters', iters)
        self.optim_wrapper.initialize_count_status(self.model, self.step, iters)
        self.call_hooks('before_train')

    def train_epoch(self) -> list[Tensor]:
        """Train for an epoch, and return the losses of its steps, () each."""
        self.message_hub.update_info('epoch', self.epoch)
        self.model.train()
        self.call_hooks('before_train_epoch')
        losses = [
            self._train_batch(number, batch)
            for number, batch in enumerate(self.train_dataloader.of_epoch(self.epoch))
        ]
        self.call_hooks('after_train_epoch')
        self._step_schedulers(by_epoch=True)
        self.epoch += 1
        return losses

    def _train_batch(self, number: int, batch: dict[str, Any]) -> Tensor:
        seed_all(self.seed, self.step)
        self.message_hub.update_info('iter', self.step)
        self.call_hooks('before_train_iter', number, batch)
        outputs = self.model.train_step(batch, self.optim_wrapper)
        self.call_hooks('after_train_iter', number, batch, outputs)
        self._step_schedulers(by_epoch=False)
        self.step += 1
        return outputs['loss'].detach()

    def _step_schedulers(self, by_epoch: bool) -> None:
        for scheduler in self.param_schedulers:
            if scheduler.by_epoch == by_epoch:
                scheduler.step()

    def _collect(self, entry: dict[str, float], **_: Any) -> None:
        self.shown.append({**entry, 'epoch': self.epoch + 1})

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epochs depend on."""
        return {
            'model': self.model.state_dict(),
            'optimizer': self.optim_wrapper.optimizer.state_dict()['state'],
            'epoch': self.epoch,
            'shown': self.shown,
            # A guard keeps its running mean there.
            'info': dict(self.message_hub.runtime_info),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after an epoch of a run with the same algorithm and optimizer.

        Schedules depend on the epoch alone and go through the steps before it.
        """
        self.epoch, self.shown = state['epoch'], list(state['shown'])
        # Checkpoints of earlier revisions have none.
        self._info = state.get('info', {})
        self.step = self.epoch * len(self.train_dataloader)
        with warnings.catch_warnings():
            # There is no optimizer step before these.
            warnings.filterwarnings('ignore', 'Detected call of `scheduler.step', UserWarning)
            for _ in range(self.epoch):
                for _ in range(len(self.train_dataloader)):
                    self._step_schedulers(by_epoch=False)
                self._step_schedulers(by_epoch=True)
        self.model.load_state_dict(state['model'])
        optimizer = self.optim_wrapper.optimizer
        optimizer.load_state_dict({**optimizer.state_dict(), 'state': state['optimizer']})


def _make_fast(model: nn.Module, optimizer: dict[str, Any]) -> None:
    """Change how a model and an optimizer compute, but for rounding not what."""
    if any(isinstance(one, nn.BatchNorm2d) for one in model.modules()):
        model.to(memory_format=torch.channels_last)
    if class_name(optimizer) in ('Adam', 'AdamW', 'SGD'):
        optimizer.setdefault('fused', True)


def _merge_groups(optimizer: torch.optim.Optimizer) -> None:
    """Join parameter groups with the same settings, in place.

    ``paramwise_cfg`` makes a group for each parameter. Optimizers treat every parameter alone, so
    the steps stay the same; schedules have fewer groups to go through.
    """
    merged: dict[str, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        settings = {name: value for name, value in group.items() if name != 'params'}
        first = merged.setdefault(repr(sorted(settings.items())), {**settings, 'params': []})
        first['params'] += group['params']
    optimizer.param_groups[:] = merged.values()
