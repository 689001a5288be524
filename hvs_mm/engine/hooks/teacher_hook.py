"""The update of a momentum teacher."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from .finite_step_hook import step_was_skipped


def cosine_schedule(start: float, end: float, step: int, num_steps: int) -> float:
    """``end + (start - end) (1 + cos(pi step / num_steps)) / 2``, as the published code of DINO."""
    return end + (start - end) * (1 + cos(pi * step / num_steps)) / 2


@HOOKS.register_module()
class TeacherHook(Hook):
    """Updates the teacher of DINO and iBOT, once per optimizer step.

    Acts after every training iteration in which the optimizer has made a step: with gradient
    accumulation that is every ``accumulative_counts``-th, and the last one; not one whose step
    ``FiniteStepHook`` has skipped. The momentum follows a cosine over the iterations of the run.

    Args:
        momentum: Share of the student in the first update, in MMEngine's convention: DINO's 0.996
            is 0.004 here. Defaults to 0.004.
        end_momentum: Share of the student at the end of the run. Defaults to 0.

    Raises:
        ValueError: If a momentum is outside [0, 1].
    """

    # Ahead of the hooks that log and save.
    priority = 'ABOVE_NORMAL'

    def __init__(self, momentum: float = 0.004, end_momentum: float = 0.0) -> None:
        for name, value in (('momentum', momentum), ('end_momentum', end_momentum)):
            if not 0 <= value <= 1:
                raise ValueError(
                    f'{name}={value} must be between 0 and 1: the share of the student, 0.004 for '
                    'what the paper calls a momentum of 0.996.'
                )
        self.momentum = momentum
        self.end_momentum = end_momentum

    def before_train(self, runner: Runner) -> None:
        if not hasattr(_model(runner), 'update_teacher'):
            raise TypeError(
                f'TeacherHook needs a model with a teacher, such as DINO or iBOT, not '
                f'{type(_model(runner)).__name__}: remove it from custom_hooks.'
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Sequence[Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        if runner.optim_wrapper.should_update() and not step_was_skipped(runner):
            momentum = cosine_schedule(
                self.momentum, self.end_momentum, runner.iter, runner.max_iters
            )
            _model(runner).update_teacher(momentum)
            runner.message_hub.update_scalar('train/teacher_momentum', momentum)


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
