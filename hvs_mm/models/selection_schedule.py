"""When, and for which samples, views are selected."""

from __future__ import annotations

import torch
from mmengine.logging import MessageHub
from torch import Tensor


class SelectionSchedule:
    """Selects in some steps and for some samples only, to save the forwards of the candidates.

    What is not selected trains on the first candidates of every group, which are as random as any.

    Source: section "implementation" of the published code's ``hvp_step`` (arXiv 2310.03940) for
    ``interval``; the others are ours.

    Args:
        interval: Select in every so many steps, counted from the first of the run.
        warmup: Epochs at the start of a run without selection.
        prob: Share of a batch's samples that is selected for, drawn anew in every step. At least
            one; two where samples are scored against each other.

    Raises:
        ValueError: If ``interval`` is below 1, ``warmup`` negative or ``prob`` outside (0, 1].
    """

    def __init__(self, interval: int = 1, warmup: int = 0, prob: float = 1.0) -> None:
        for name, value, least in (('interval', interval, 1), ('warmup', warmup, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                unit = 'steps' if name == 'interval' else 'epochs'
                raise ValueError(
                    f'{name}={value!r} must be a whole number of {unit}, at least {least}.'
                )
        if isinstance(prob, bool) or not isinstance(prob, (int, float)) or not 0 < prob <= 1:
            raise ValueError(
                f'prob={prob!r} must be above 0 and at most 1: the share of the samples to select '
                'views for. To train without selection take the baseline.'
            )
        self.interval = interval
        self.warmup = warmup
        self.prob = float(prob)
        self._steps = 0

    @property
    def is_complete(self) -> bool:
        """Whether views are selected in every step for every sample."""
        return self.interval == 1 and self.warmup == 0 and self.prob == 1

    @torch.compiler.disable
    def is_due(self) -> bool:
        """Whether to select in the current step; to be asked once per step.

        Iteration and epoch are those that the Runner keeps in MMEngine's ``MessageHub``, so a
        resumed run goes on in step; under gradient accumulation iterations count, not steps of the
        optimizer. Without a Runner calls are counted, and the epoch is the first. A process that
        has had one, and then calls the model itself, finds what that one has left in the hub.
        """
        hub = MessageHub.get_current_instance()
        iteration = hub.get_info('iter')
        if iteration is None:
            iteration = self._steps
            self._steps += 1
        return (hub.get_info('epoch') or 0) >= self.warmup and iteration % self.interval == 0

    def draw_samples(self, batch_size: int, least: int = 1) -> Tensor | None:
        """Draw for which samples to select.

        Args:
            batch_size: B.
            least: At least so many of them.

        Returns:
            Positions (n,) int64, ascending; ``None`` if all.
        """
        count = max(least, round(self.prob * batch_size))
        if count >= batch_size:
            return None
        return torch.randperm(batch_size)[:count].sort().values
