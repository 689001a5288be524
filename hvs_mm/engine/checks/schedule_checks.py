"""Check the schedules and the numerics of a training run."""

from __future__ import annotations

import torch
from mmengine.config import Config
from torch import nn

from ...models.selection_schedule import SelectionSchedule
from ...utils.class_name import class_name
from ..hooks.gradient_hook import GradientHook, scaled_clipping
from ..hooks.teacher_hook import TeacherHook
from .hook_checks import configured_hooks


def check_precision(cfg: Config) -> None:
    """Check that the optimizer wrapper runs on this machine.

    Raises:
        ValueError: If it is ``AmpOptimWrapper`` and there is no GPU.
    """
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise ValueError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU, and torch.cuda.is_available() is "
            'False: add --amp, which takes bfloat16 on the CPU, or set '
            'optim_wrapper.type=OptimWrapper.'
        )


def check_warmup(cfg: Config, model: nn.Module) -> None:
    """Check that masks have begun and the teacher's temperature has warmed up when the run ends.

    Raises:
        ValueError: If the run is too short, or counts no epochs.
    """
    head = getattr(model, 'head', None)
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
    """Check that views are selected before the run ends.

    Raises:
        ValueError: If the run is over with its warm-up, or counts no epochs.
    """
    schedule = getattr(model, 'schedule', None)
    if not isinstance(schedule, SelectionSchedule) or not schedule.warmup:
        return
    train_cfg = cfg.get('train_cfg') or {}
    max_epochs = train_cfg.get('max_epochs')
    if max_epochs is None and train_cfg:
        raise ValueError(
            f'model.schedule.warmup={schedule.warmup} counts epochs, but train_cfg.type='
            f"{train_cfg.get('type')!r} counts iterations: take type='EpochBasedTrainLoop' with "
            'max_epochs, or set model.schedule.warmup=0.'
        )
    if max_epochs is not None and schedule.warmup >= max_epochs:
        raise ValueError(
            f'model.schedule.warmup={schedule.warmup} epochs without selection, but the run has '
            f'max_epochs={max_epochs}: views would never be selected. Lower model.schedule.warmup, '
            'or train longer.'
        )


def check_teacher(cfg: Config, model: nn.Module) -> None:
    """Check that something updates the teacher.

    A list in a config replaces the one it inherits: ``custom_hooks`` are easily lost.

    Raises:
        ValueError: If the model has a teacher and the config no ``TeacherHook``.
    """
    if not hasattr(model, 'update_teacher'):
        return
    types = [class_name(hook) for hook in cfg.get('custom_hooks') or []]
    if TeacherHook.__name__ not in types:
        raise ValueError(
            f"custom_hooks={types} has no 'TeacherHook', without which the teacher of "
            f'{type(model).__name__} stays as it was initialized: add '
            "dict(type='TeacherHook', momentum=0.004), as configs/_base_/dino.py does."
        )


def check_clipping(cfg: Config) -> None:
    """Check that gradients are clipped as they are, not as a loss scaler has made them.

    Raises:
        ValueError: If ``GradientHook`` would clip what a fused optimizer has still to unscale.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if (
        class_name(wrapper) != 'AmpOptimWrapper'
        or not (wrapper.get('optimizer') or {}).get('fused')
        or wrapper.get('clip_grad')
    ):
        return
    for hook in configured_hooks(cfg):
        if class_name(hook) == GradientHook.__name__ and hook.get('clip') is not None:
            raise ValueError(scaled_clipping(hook['clip']))


def check_schedule(cfg: Config) -> None:
    """Check that the run is long enough for every step of its schedules.

    Raises:
        ValueError: If a scheduler that has no end of its own begins when the run is over.
    """
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
