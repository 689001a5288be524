"""Update a momentum teacher, an exponential moving average (EMA) of the student."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.arguments import check_share
from ...utils.unwrap_model import unwrap_model
from .finite_step_hook import step_was_skipped


def cosine_schedule(start: float, end: float, step: int, num_steps: int) -> float:
    """``end + (start - end) (1 + cos(pi step / num_steps)) / 2``, as the published code of DINO."""
    return end + (start - end) * (1 + cos(pi * step / num_steps)) / 2


@HOOKS.register_module()
class TeacherHook(Hook):
    """Updates the teacher of DINO and iBOT, once per optimizer step.

    Acts after every training iteration in which the optimizer makes a step: with gradient
    accumulation every ``accumulative_counts``-th and the last one, without those whose step
    ``FiniteStepHook`` skips. The momentum follows a cosine over the iterations of the run. Before
    an iteration it tells the head whether a step follows, on which its centers move, too.

    Args:
        momentum: Share of the student in the first update, in MMEngine's convention: DINO's 0.996
            is 0.004 here.
        end_momentum: Share of the student at the end of the run.

    Raises:
        ValueError: If a momentum is outside [0, 1].
    """

    # Ahead of the hooks that log and save.
    priority = 'ABOVE_NORMAL'

    def __init__(self, momentum: float = 0.004, end_momentum: float = 0.0) -> None:
        hint = 'the share of the student, 0.004 for what the paper calls a momentum of 0.996.'
        self.momentum = check_share('momentum', momentum, hint=hint)
        self.end_momentum = check_share('end_momentum', end_momentum, hint=hint)

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if not hasattr(model, 'update_teacher'):
            raise TypeError(
                f'TeacherHook needs a model with a teacher, such as DINO or iBOT, not '
                f'{type(model).__name__}: remove it from custom_hooks.'
            )

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        head = getattr(unwrap_model(runner.model), 'head', None)
        if head is not None:
            head.step_follows = runner.optim_wrapper.should_sync()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.optim_wrapper.should_update() and not step_was_skipped(runner):
            momentum = cosine_schedule(
                self.momentum, self.end_momentum, runner.iter, runner.max_iters
            )
            unwrap_model(runner.model).update_teacher(momentum)
            runner.message_hub.update_scalar('train/teacher_momentum', momentum)
