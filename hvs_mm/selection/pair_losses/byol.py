"""BYOL: normalized squared distance to the target network (arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.byol import byol_pair_loss
from .base import Views, forward_views
from .simsiam import SimSiamPairLoss


@TASK_UTILS.register_module()
class BYOLPairLoss(SimSiamPairLoss):
    """Pair loss of ``mmpretrain.models.BYOL``.

    Upstream updates the target network at the start of its ``loss``. Selection must not, so it
    reads the target of the step before. Before the very first update, which overwrites the target's
    own initial weights with the online ones, it reads the online network instead.
    """

    algorithms = ('BYOL',)

    def forward(
        self, algorithm: nn.Module, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        prediction, online = super().forward(algorithm, views, num_targets)
        target = forward_views(lambda x: algorithm.target_net(x)[0], views[:num_targets])
        # Chosen on the device: asking for the count would make the host wait for it.
        return prediction, torch.where(algorithm.target_net.steps > 0, target, online)

    def form(self, algorithm: nn.Module, outputs: tuple[Tensor, Tensor]) -> Tensor:
        loss = algorithm.head.loss_module
        # Upstream's loss of one direction is shift - scale cos. BYOL's is twice that plus 2, and
        # is 2 - 2 cos with upstream's defaults.
        offset = 2 + 2 * (loss.shift_factor - loss.scale_factor)
        return offset + loss.scale_factor * byol_pair_loss(*outputs)
