"""BYOL: normalized squared distance to the target network (arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.byol import byol_pair_loss
from .base import forward_views
from .cosine import CosinePairLoss, cosine_loss_factors, project_and_predict


@TASK_UTILS.register_module()
class BYOLPairLoss(CosinePairLoss):
    """Pair loss of ``mmpretrain.models.BYOL``.

    Upstream updates the target network at the start of its ``loss``. Selection must not, so it
    reads the target of the step before. Before the very first update, which overwrites the target's
    own initial weights with the online ones, it reads the online network instead.
    """

    algorithms = ('BYOL',)

    def forward(
        self, algorithm: nn.Module, views: Sequence[Tensor], num_targets: int
    ) -> tuple[Tensor, Tensor]:
        projection, prediction = project_and_predict(algorithm, views)
        target = forward_views(lambda x: algorithm.target_net(x)[0], views[:num_targets])
        # Chosen on the device: asking for the count would make the host wait for it.
        is_updated = algorithm.target_net.steps > 0
        return prediction, torch.where(is_updated, target, projection[:, :num_targets])

    def form(self, algorithm: nn.Module, outputs: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale = cosine_loss_factors(algorithm.head)
        # Upstream's loss of one direction is shift - scale cos. BYOL's is twice that plus 2, and
        # is 2 - 2 cos with upstream's defaults.
        return 2 + 2 * (shift - scale) + scale * byol_pair_loss(*outputs)
