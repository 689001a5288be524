"""Less hardness while the student's outputs tell little about the image."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from ..selection.output_sums import OutputSums
from ..selection.pair_losses.base import PairLoss, registered_pair_losses
from ..selection.selectors import Selector
from ..utils.arguments import check_settings, check_share, is_number

#: The settings of a guard.
GUARD_SETTINGS = ('low', 'high', 'momentum')
#: Entry of MMEngine's hub, which checkpoints keep.
_ENTRY = 'hvs_guard_estimate'


class InformationGuard:
    """Lowers the hardness of the kept views before the student's outputs go uniform.

    It watches what an output of the student, a distribution over prototypes, tells about which
    image and view it is of: the entropy of the mean output minus the mean entropy of the outputs,
    over all candidates of the batches of all processes. A running mean of this information sets
    the level of hardness, from 0 at ``low`` to 1 at ``high``. Each image keeps the selector's
    choice with that probability, otherwise a random combination. So it works with every selector.

    All processes have the same level. A resumed run continues with the running mean, which MMEngine
    keeps in its checkpoints. No device synchronization.

    Args:
        low: Information, in nats, at which all choices are random.
        high: Information from which on all choices are the selector's.
        momentum: Share of a batch in the running mean, which begins with the first batch.

    Raises:
        ValueError: If ``low`` is no number from 0 to below ``high``, or ``momentum`` no share.
    """

    def __init__(self, low: float = 0.1, high: float = 0.2, momentum: float = 0.1) -> None:
        for name, value in (('low', low), ('high', high)):
            if not is_number(value) or value < 0:
                raise ValueError(f'guard.{name}={value!r} must be a number of nats, 0 or more.')
        if high <= low:
            raise ValueError(
                f'guard.high={high} must be above guard.low={low}: the hardness rises between them.'
            )
        self.low, self.high = low, high
        hint = 'it is the share of a batch in the running mean.'
        self.momentum = check_share('guard.momentum', momentum, zero=False, hint=hint)
        #: Outside of a run, which keeps it in the hub.
        self._estimate: Tensor | None = None

    def level(self, sums: OutputSums) -> tuple[Tensor, Tensor]:
        """Take in a batch; all processes call this together.

        Args:
            sums: Those of the student's outputs in this process.

        Returns:
            The level of hardness (), from 0 to 1, and the information (), nats, of the batch.
        """
        information = sums.over_processes().information()
        earlier = self._earlier(information)
        moved = torch.where(
            earlier.isfinite(), earlier.lerp(information, self.momentum), information
        )
        # NaN outputs of a diverged step must not stay in the mean.
        estimate = torch.where(information.isfinite(), moved, earlier)
        self._keep(estimate)
        level = (estimate - self.low) / (self.high - self.low)
        return level.clamp(0, 1).nan_to_num(0), information

    def _earlier(self, like: Tensor) -> Tensor:
        """The running mean before this batch, NaN at first."""
        hub = MessageHub.get_current_instance()
        in_run = hub.get_info('iter') is not None
        estimate = hub.get_info(_ENTRY) if in_run else self._estimate
        return torch.full_like(like, torch.nan) if estimate is None else estimate.to(like)

    def _keep(self, estimate: Tensor) -> None:
        hub = MessageHub.get_current_instance()
        if hub.get_info('iter') is None:
            self._estimate = estimate
        else:
            hub.update_info(_ENTRY, estimate)


def build_guard(
    settings: dict[str, Any] | None,
    pair_loss: PairLoss,
    selector: Selector,
    depth: int | None = None,
) -> InformationGuard | None:
    """Build the guard of a model from the setting ``guard``, ``None`` for no guard.

    Raises:
        TypeError, ValueError: If a setting is wrong, or there are no outputs to watch: the pair
            loss gives none, the selector takes no forward passes of the candidates, or these end
            after ``depth`` layers.
    """
    if settings is None:
        return None
    text = f"guard={settings!r} watches the student's outputs over prototypes"
    if not pair_loss.gives_student_sums:
        names = sorted(n for n, cls in registered_pair_losses().items() if cls.gives_student_sums)
        raise ValueError(
            f'{text}, which {type(pair_loss).__name__} does not give: leave it out. It is for '
            f'{names}.'
        )
    if selector.values is not None:
        raise ValueError(f'{text}, but {type(selector).__name__} needs none: leave it out.')
    if depth is not None:
        raise ValueError(
            f'{text}, but selection_pass.depth={depth} leaves the network before: set one of the '
            'two.'
        )
    return InformationGuard(**check_settings('guard', settings, GUARD_SETTINGS))
