"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.simsiam import simsiam_pair_loss
from .cosine import CosinePairLoss, cosine_loss_factors, project_and_predict


@TASK_UTILS.register_module()
class SimSiamPairLoss(CosinePairLoss):
    """Pair loss of ``mmpretrain.models.SimSiam``."""

    algorithms = ('SimSiam',)

    def forward(
        self, algorithm: nn.Module, views: Sequence[Tensor], num_targets: int
    ) -> tuple[Tensor, Tensor]:
        projection, prediction = project_and_predict(algorithm, views)
        return prediction, projection[:, :num_targets]

    def form(self, algorithm: nn.Module, outputs: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale = cosine_loss_factors(algorithm.head)
        return shift + scale * simsiam_pair_loss(*outputs)
