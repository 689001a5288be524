"""Cosine pair losses, shared by SimSiam and BYOL."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..groups import ViewGroups
from .base import PairLoss, forward_views


class CosinePairLoss(PairLoss):
    """Base of the pair losses of two views that predict each other."""

    num_kept = 2
    all_targets = True

    def check(self, algorithm: nn.Module, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        cosine_loss_factors(algorithm.head)


def cosine_loss_factors(head: nn.Module) -> tuple[float, float]:
    """``(shift, scale)`` of the head's ``CosineSimilarityLoss``: ``shift - scale * cos``.

    Raises:
        ValueError: If the head has another loss module, whose values would not be these.
    """
    loss = head.loss_module
    if type(loss).__name__ != 'CosineSimilarityLoss':
        raise ValueError(
            f'head.loss is {type(loss).__name__}: the cosine pair loss describes only '
            'CosineSimilarityLoss. Pass a pair_loss of your own for another loss.'
        )
    return loss.shift_factor, loss.scale_factor


def project_and_predict(algorithm: nn.Module, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Forward views through backbone, projector and predictor of SimSiam or BYOL.

    Args:
        algorithm: The algorithm.
        views: S tensors (B, 3, H, W).

    Returns:
        Projections and predictions, (B, S, D) each.
    """
    projection = forward_views(lambda x: algorithm.neck(algorithm.backbone(x))[0], views)
    # All views in one batch here, too: (B, S, D) -> (B * S, D) and back.
    prediction = algorithm.head.predictor([projection.flatten(0, 1)])[0]
    return projection, prediction.unflatten(0, projection.shape[:2])
