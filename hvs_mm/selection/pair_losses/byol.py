"""BYOL: normalized squared distance to the target network (arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.byol import byol_pair_loss
from .base import Algorithm, Views
from .forward import forward_momentum
from .simsiam import SimSiamPairLoss


@TASK_UTILS.register_module()
class BYOLPairLoss(SimSiamPairLoss):
    """Pair loss of ``mmpretrain.models.BYOL``."""

    algorithms = ('BYOL',)

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        prediction, online = super().forward(algorithm, views, num_targets)
        return prediction, forward_momentum(algorithm.target_net, views[:num_targets], online)

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> Tensor:
        loss = algorithm.head.loss_module
        # Upstream's loss of one direction is shift - scale cos. BYOL's is twice that plus 2, and
        # is 2 - 2 cos with upstream's defaults.
        offset = 2 + 2 * (loss.shift_factor - loss.scale_factor)
        return offset + loss.scale_factor * byol_pair_loss(*outputs)
