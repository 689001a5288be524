"""BYOL: normalized squared distance to the target network (arXiv 2006.07733, eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ..groups import ViewGroups
from .base import PairLoss, forward_views
from .cosine import cosine_loss_factors, cosine_similarities


def byol_pair_loss(prediction: Tensor, target_projection: Tensor) -> Tensor:
    """``L[b, t, s] = 2 - 2 cos(p_s, z'_t)``.

    Args:
        prediction: (B, S, D) predictor outputs ``p`` of the online network.
        target_projection: (B, T, D) projector outputs ``z'`` of the target network.

    Returns:
        (B, T, S) float32, from 0 to 4.
    """
    return 2 - 2 * cosine_similarities(prediction, target_projection)


@TASK_UTILS.register_module()
class BYOLPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.BYOL``.

    Upstream updates the target network at the start of its ``loss``. Selection must not, so it
    reads the target of the step before; only ahead of the very first update, when the target
    holds weights of its own that the update is about to overwrite with the online ones, does it
    read the online network instead.
    """

    algorithms = ('BYOL',)
    num_kept = 2

    def __init__(self) -> None:
        # Once the target has been updated it stays so; remembering spares a device
        # synchronization per step.
        self._target_updated = False

    def check(self, algorithm: nn.Module, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        cosine_loss_factors(algorithm.head)

    def __call__(self, algorithm: nn.Module, views: Sequence[Tensor], num_targets: int) -> Tensor:
        projection = forward_views(lambda x: algorithm.neck(algorithm.backbone(x))[0], views)
        # The predictor has a BatchNorm of its own: (B, S, D) -> (B * S, D) and back.
        prediction = algorithm.head.predictor([projection.flatten(0, 1)])[0]
        prediction = prediction.unflatten(0, projection.shape[:2])
        if not self._target_updated:
            self._target_updated = bool(algorithm.target_net.steps > 0)
        if self._target_updated:
            target = forward_views(lambda x: algorithm.target_net(x)[0], views[:num_targets])
        else:
            target = projection[:, :num_targets]
        shift, scale = cosine_loss_factors(algorithm.head)
        # Upstream adds 2 (shift - scale cos) per direction: BYOL's loss without its constant 2.
        return 2 * shift + 2 * (1 - scale) + scale * byol_pair_loss(prediction, target)
