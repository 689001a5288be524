"""Check the optimizer, the schedules and the precision of a training run."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import OPTIMIZERS
from torch import nn

from ...models.selection_schedule import SelectionSchedule
from ...utils.class_name import class_name
from ..optim.hardness_schedule import HardnessSchedule


def check_precision(cfg: Config) -> None:
    """Check that there is a GPU for ``AmpOptimWrapper``."""
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise ValueError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU, and torch.cuda.is_available() is "
            'False: add --amp, which takes bfloat16 on the CPU, or set '
            'optim_wrapper.type=OptimWrapper.'
        )


def check_optimizer(cfg: Config) -> None:
    """Check that the optimizer takes its settings, for example a learning rate above 0."""
    settings = cfg.optim_wrapper.get('optimizer')
    # Several optimizers, or one that is built already.
    if not isinstance(settings, dict) or 'type' not in settings:
        return
    try:
        OPTIMIZERS.build({**settings, 'params': [torch.zeros(1, requires_grad=True)]})
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f'optim_wrapper.optimizer: {error}.') from error


def check_warmup(cfg: Config, model: nn.Module) -> None:
    """Check that masks begin and the teacher's temperature warms up before the run ends."""
    head: Any = getattr(model, 'head', None)
    warmup = getattr(head, 'warmup_teacher_temp_epochs', None)
    if warmup is None:
        return
    mask_start = getattr(head, 'mask_start_epoch', 0)
    train_cfg = cfg.get('train_cfg') or {}
    if 'max_epochs' in train_cfg:
        head.check_epochs(train_cfg['max_epochs'])
    elif train_cfg and (warmup or mask_start):
        raise ValueError(
            f'train_cfg.type={train_cfg.get("type")!r} counts iterations, but the teacher '
            f'temperature (warmup_teacher_temp_epochs={warmup}) and masks '
            f"(mask_start_epoch={mask_start}) follow epochs: take type='EpochBasedTrainLoop' with "
            'max_epochs, or set both to 0.'
        )


def check_selection_warmup(cfg: Config, model: nn.Module) -> None:
    """Check that the run does not end before its epochs without selection."""
    schedule, train_cfg = getattr(model, 'schedule', None), cfg.get('train_cfg')
    if not isinstance(schedule, SelectionSchedule) or not schedule.warmup or not train_cfg:
        return
    max_epochs = train_cfg.get('max_epochs')
    if max_epochs is None:
        raise ValueError(
            f'model.schedule.warmup={schedule.warmup} counts epochs, but train_cfg.type='
            f"{train_cfg.get('type')!r} counts iterations: take type='EpochBasedTrainLoop' with "
            'max_epochs, or set model.schedule.warmup=0.'
        )
    if schedule.warmup > max_epochs:
        raise ValueError(
            f'model.schedule.warmup={schedule.warmup} epochs without selection, but the run has '
            f'max_epochs={max_epochs}: lower model.schedule.warmup to {max_epochs}, which never '
            'selects, or to less, or train longer.'
        )


def check_schedule(cfg: Config) -> None:
    """Check that every scheduler without an ``end`` begins before the run ends."""
    max_epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    schedulers = cfg.get('param_scheduler') or []
    if max_epochs is None:
        return
    for number, one in enumerate([schedulers] if isinstance(schedulers, dict) else schedulers):
        begin = one.get('begin', 0)
        if one.get('by_epoch', True) and 'end' not in one and begin >= max_epochs:
            raise ValueError(
                f'train_cfg.max_epochs={max_epochs}, but {one["type"]} begins at epoch {begin}: '
                f'train longer, or set --cfg-options param_scheduler.{number}.begin, or '
                'param_scheduler=None for a constant learning rate.'
            )


def check_hardness(cfg: Config, model: nn.Module) -> None:
    """Check that the schedules of the selection fit the selector."""
    schedulers = cfg.get('param_scheduler') or []
    for one in [schedulers] if isinstance(schedulers, dict) else schedulers:
        if class_name(one) != 'HardnessSchedule':
            continue
        if 'runner_type' not in cfg:
            raise ValueError(
                'HardnessSchedule in param_scheduler needs a Runner that connects it with the '
                "selector: set runner_type='mmpretrain.ReliableRunner'."
            )
        others = ('type', '_scope_', 'convert_to_iter_based')
        settings = {name: value for name, value in one.items() if name not in others}
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        HardnessSchedule(optimizer, **settings).connect(model)
