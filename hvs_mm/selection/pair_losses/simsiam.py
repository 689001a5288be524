"""SimSiam: negative cosine of predictions and projections (arXiv 2011.10566, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ..groups import ViewGroups
from .base import PairLoss, forward_views
from .cosine import cosine_loss_factors, cosine_similarities


def simsiam_pair_loss(prediction: Tensor, projection: Tensor) -> Tensor:
    """``L[b, t, s] = -cos(p_s, z_t)``.

    Args:
        prediction: (B, S, D) predictor outputs ``p``.
        projection: (B, T, D) projector outputs ``z``.

    Returns:
        (B, T, S) float32, from -1 to 1.
    """
    return -cosine_similarities(prediction, projection)


@TASK_UTILS.register_module()
class SimSiamPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SimSiam``."""

    algorithms = ('SimSiam',)
    num_kept = 2

    def check(self, algorithm: nn.Module, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        cosine_loss_factors(algorithm.head)

    def __call__(self, algorithm: nn.Module, views: Sequence[Tensor], num_targets: int) -> Tensor:
        projection = forward_views(lambda x: algorithm.neck(algorithm.backbone(x))[0], views)
        # The predictor has a BatchNorm of its own: (B, S, D) -> (B * S, D) and back.
        prediction = algorithm.head.predictor([projection.flatten(0, 1)])[0]
        prediction = prediction.unflatten(0, projection.shape[:2])
        shift, scale = cosine_loss_factors(algorithm.head)
        return shift + scale * simsiam_pair_loss(prediction, projection[:, :num_targets])
