"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.simsiam import simsiam_pair_loss
from .base import Algorithm, PairLoss, Views
from .forward import project_and_predict


@TASK_UTILS.register_module()
class SimSiamPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SimSiam``."""

    algorithms = ('SimSiam',)
    num_kept = 2
    head_loss = 'CosineSimilarityLoss'
    all_targets = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        """Predictions (B, S, D) of all views and projections (B, T, D) of the targets."""
        prediction, projection = project_and_predict(algorithm, views)
        return prediction, projection[:, :num_targets]

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> Tensor:
        # Upstream's loss is shift - scale cos.
        loss = algorithm.head.loss_module
        return loss.shift_factor + loss.scale_factor * simsiam_pair_loss(*outputs)
