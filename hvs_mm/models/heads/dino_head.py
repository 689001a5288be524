"""The loss of DINO."""

from __future__ import annotations

from math import isfinite
from typing import ClassVar

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor

from ...losses.dino import dino_pair_loss, mean_of_cross_terms
from ...utils.arguments import check_share, check_whole
from ...utils.compile_guards import compile_guards
from .center import move_center, register_center


def check_temperature(name: str, value: float) -> float:
    """Return a temperature, or raise ``ValueError`` unless it is positive and finite."""
    if not (value > 0 and isfinite(value)):
        raise ValueError(f'{name}={value} must be positive and finite.')
    return value


@MODELS.register_module()
class DINOHead(BaseModule):
    """Temperatures and center of DINO, and the loss formed with them.

    Source: section 3.1 of `arXiv 2104.14294 <https://arxiv.org/abs/2104.14294>`_. The center moves
    once per optimizer step: under gradient accumulation
    :class:`hvs_mm.engine.TeacherHook` sets ``step_follows`` for every batch.

    Args:
        out_channels: Number of prototypes ``K``, as in the neck.
        num_crops: Views the student sees per image, global and local.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher after its warm-up.
        warmup_teacher_temp: Temperature of the teacher in the first epoch.
        warmup_teacher_temp_epochs: Epochs of its warm-up.
        center_momentum: Share of the old center in an update.
        init_cfg: As for ``BaseModule``.

    Raises:
        ValueError: If a temperature is not positive and finite, the warm-up negative or no integer,
            the momentum outside [0, 1], or there are fewer than 2 crops.
    """

    #: The algorithm whose loss it forms.
    algorithm: ClassVar[str] = 'DINO'
    #: First epoch with masks; none by default.
    mask_start_epoch: int = 0
    #: Whether the optimizer makes a step on the next batch; if not, the centers wait for it.
    step_follows: bool = True

    def __init__(
        self,
        out_channels: int = 65536,
        num_crops: int = 10,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        warmup_teacher_temp: float = 0.04,
        warmup_teacher_temp_epochs: int = 0,
        center_momentum: float = 0.9,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_crops = check_whole('num_crops', num_crops, 2)
        self.student_temp = check_temperature('student_temp', student_temp)
        self.teacher_temp = check_temperature('teacher_temp', teacher_temp)
        self.warmup_teacher_temp = check_temperature('warmup_teacher_temp', warmup_teacher_temp)
        self.warmup_teacher_temp_epochs = check_whole(
            'warmup_teacher_temp_epochs', warmup_teacher_temp_epochs, 0
        )
        self.center_momentum = check_share('center_momentum', center_momentum)
        register_center(self, 'center', out_channels)

    def check_epochs(self, max_epochs: int) -> None:
        """Raise ``ValueError`` if a run ends before masks begin or the temperatures have warmed up.

        The warm-up for patches begins with the masks. A loop by iterations counts as a single
        epoch.
        """
        run = f'the run has max_epochs={max_epochs}'
        if max_epochs == 1:
            run += ' (a loop by iterations counts as one epoch)'
        start, warmup = self.mask_start_epoch, self.warmup_teacher_temp_epochs
        if 0 < start >= max_epochs:
            raise ValueError(
                f'masks begin at epoch {start}, but {run}: lower model.head.mask_start_epoch (in '
                'an HVS config model.algorithm.head.mask_start_epoch), or train longer.'
            )
        if start + warmup > max_epochs:
            begin = f' from epoch {start} on, when masks begin,' if start else ''
            raise ValueError(
                f'the teacher temperature warms up for {warmup} epochs{begin} but {run}: lower '
                'model.head.warmup_teacher_temp_epochs (in an HVS config '
                'model.algorithm.head.warmup_teacher_temp_epochs), or train longer.'
            )

    def current_teacher_temp(self) -> float:
        """Temperature of the teacher in the current epoch."""
        return self._warmed_up(self.warmup_teacher_temp, self.teacher_temp)

    @torch.compiler.disable
    def _warmed_up(self, first: float, last: float, start_epoch: int = 0) -> float:
        """A temperature that rises linearly from ``start_epoch`` to the end of its warm-up.

        The Runner keeps the epoch in MMEngine's ``MessageHub``, so a resumed run has the right
        value. Without a Runner it is the first.
        """
        hub = MessageHub.get_current_instance()
        max_epochs = hub.get_info('max_epochs')
        if max_epochs is not None:
            self.check_epochs(max_epochs)
        warmup = self.warmup_teacher_temp_epochs
        since_start = (hub.get_info('epoch') or 0) - start_epoch
        if since_start < 0:
            return first
        if since_start >= warmup:
            return last
        return first + (last - first) * since_start / max(warmup - 1, 1)

    @compile_guards
    def pair_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss (B, T, S) of all pairs of views, from logits (B, S, K) and (B, T, K)."""
        temperatures = self.student_temp, self.current_teacher_temp()
        return dino_pair_loss(student, teacher, self.center, *temperatures)

    @compile_guards
    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean of the losses of pairs of different views, a scalar; then update the center."""
        loss = mean_of_cross_terms(self.pair_loss(student, teacher.detach())).mean()
        self.update_center(teacher)
        return loss

    def update_center(self, teacher: Tensor) -> None:
        """Move the center towards the mean of the teacher's logits (B, T, K) of all processes."""
        logits, momentum = teacher.flatten(0, 1), self.center_momentum
        move_center(self, 'center', logits, momentum, step_follows=self.step_follows)
