"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.simsiam import simsiam_pair_loss
from ..groups import ViewGroups
from .base import PairLoss
from .cosine import cosine_loss_factors, project_and_predict


@TASK_UTILS.register_module()
class SimSiamPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SimSiam``."""

    algorithms = ('SimSiam',)
    num_kept = 2
    all_targets = True

    def check(self, algorithm: nn.Module, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        cosine_loss_factors(algorithm.head)

    def forward(
        self, algorithm: nn.Module, views: Sequence[Tensor], num_targets: int
    ) -> tuple[Tensor, Tensor]:
        projection, prediction = project_and_predict(algorithm, views)
        return prediction, projection[:, :num_targets]

    def form(self, algorithm: nn.Module, outputs: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale = cosine_loss_factors(algorithm.head)
        return shift + scale * simsiam_pair_loss(*outputs)
