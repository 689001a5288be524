"""When, and for which samples, views are selected."""

from __future__ import annotations

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from ..utils.arguments import check_share, check_whole

#: The settings of a schedule.
SCHEDULE_SETTINGS = ('interval', 'warmup', 'prob')


class SelectionSchedule:
    """Selects in some steps and for some samples only, to save the forwards of the candidates.

    Other samples train on the first candidates of every group, which are as random as any.

    Source: section "implementation" of the published code's ``hvp_step`` (arXiv 2310.03940) for
    ``interval``; the others are ours.

    Args:
        interval: Select in every ``interval``-th step, counted from the first of the run.
        warmup: Epochs at the start of a run without selection.
        prob: Share of a batch's samples to select for, drawn again in every step. At least one
            sample; two where samples are scored against each other.

    Raises:
        ValueError: If ``interval`` is below 1, ``warmup`` negative or ``prob`` outside (0, 1].
    """

    def __init__(self, interval: int = 1, warmup: int = 0, prob: float = 1.0) -> None:
        self.interval = check_whole('schedule.interval', interval, 1, 'it counts steps.')
        self.warmup = check_whole('schedule.warmup', warmup, 0, 'it counts epochs.')
        hint = 'it is a share of the samples. To train without selection take the baseline.'
        self.prob = check_share('schedule.prob', prob, zero=False, hint=hint)
        self._steps = 0

    @property
    def is_complete(self) -> bool:
        """Whether views are selected in every step for every sample."""
        return self.interval == 1 and self.warmup == 0 and self.prob == 1

    @torch.compiler.disable
    def is_due(self) -> bool:
        """Whether to select in the current step; ask once per step.

        Iteration and epoch are those that the Runner keeps in MMEngine's ``MessageHub``, so a
        resumed run stays in step; under gradient accumulation iterations count, not optimizer
        steps. Without a Runner calls are counted, and the epoch is the first. If a Runner ran
        earlier in the process, the hub still holds its iteration and epoch.
        """
        hub = MessageHub.get_current_instance()
        iteration = hub.get_info('iter')
        if iteration is None:
            iteration = self._steps
            self._steps += 1
        return (hub.get_info('epoch') or 0) >= self.warmup and iteration % self.interval == 0

    def draw_samples(self, batch_size: int, least: int = 1) -> Tensor | None:
        """Draw the positions (n,), int64 and ascending, of ``least`` samples or more to select for.

        ``None`` stands for all samples.
        """
        count = max(least, round(self.prob * batch_size))
        if count >= batch_size:
            return None
        return torch.randperm(batch_size)[:count].sort().values
