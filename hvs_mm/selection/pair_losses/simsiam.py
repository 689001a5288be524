"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.simsiam import simsiam_pair_loss
from .base import PairLoss, Views, forward_views


@TASK_UTILS.register_module()
class SimSiamPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SimSiam``."""

    algorithms = ('SimSiam',)
    num_kept = 2
    head_loss = 'CosineSimilarityLoss'
    all_targets = True

    def forward(
        self, algorithm: nn.Module, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        """Predictions (B, S, D) of all views and projections (B, T, D) of the targets."""
        projection = forward_views(lambda x: algorithm.neck(algorithm.backbone(x))[0], views)
        # All views in one batch here, too: (B, S, D) -> (B * S, D) and back.
        prediction = algorithm.head.predictor([projection.flatten(0, 1)])[0]
        return prediction.unflatten(0, projection.shape[:2]), projection[:, :num_targets]

    def form(self, algorithm: nn.Module, outputs: tuple[Tensor, Tensor]) -> Tensor:
        # Upstream's loss is shift - scale cos.
        loss = algorithm.head.loss_module
        return loss.shift_factor + loss.scale_factor * simsiam_pair_loss(*outputs)
