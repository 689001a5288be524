"""SwAV: predict a view's assignment to prototypes from another view (arXiv 2006.09882)."""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import Any

import torch
from mmpretrain.models.losses.swav_loss import distributed_sinkhorn
from mmpretrain.registry import TASK_UTILS
from torch import Tensor
from torch.nn import functional as F

from ...losses.swav import swav_pair_loss
from ...utils.precision import full_precision
from ..groups import ViewGroups
from .base import Algorithm, PairLoss, Views


@TASK_UTILS.register_module()
class SwAVPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SwAV``.

    A view's assignments are those that the batch has if all of it keeps this view. The queues of
    upstream's ``SwAVHook`` take part as in the training step, and stay as they are; the first half
    of the target candidates reads that of the first kept view, and so on.
    """

    algorithms = ('SwAV',)
    head_loss = 'SwAVLoss'
    # A single sample is assigned to all prototypes alike.
    min_samples = 2

    def check(self, algorithm: Algorithm, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        loss = algorithm.head.loss_module
        if groups.num_kept != sum(loss.num_crops):
            raise ValueError(
                f'keep={list(groups.keep)} keeps {groups.num_kept} views, but the head is for '
                f'num_crops={list(loss.num_crops)}: make their sums equal.'
            )
        assigned = list(loss.crops_for_assign)
        if assigned != list(range(len(assigned))) or len(assigned) not in accumulate(groups.keep):
            raise ValueError(
                f'head.loss.crops_for_assign={assigned} must be the kept views of the first '
                f'groups, with keep={list(groups.keep)}: [0, ..., {groups.keep[0] - 1}].'
            )

    def forward(self, algorithm: Algorithm, views: Views, num_targets: int) -> tuple[Tensor, int]:
        """Embeddings (B, S, D) of all views."""
        # As upstream: the backbone takes views size by size, the neck all of them together.
        runs = [torch.cat(list(run)) for _, run in groupby(views, lambda view: view.shape[-1])]
        embedding = algorithm.neck([algorithm.backbone(run) for run in runs])
        # (S * B, D) -> (B, S, D)
        return embedding.unflatten(0, (len(views), -1)).transpose(0, 1), num_targets

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, int]) -> Tensor:
        embedding, num_targets = outputs
        loss = algorithm.head.loss_module
        scores = _scores(embedding, loss.prototypes.weight)
        assignments = [
            _assign(loss, scores[:, target], target * len(loss.crops_for_assign) // num_targets)
            for target in range(num_targets)
        ]
        return swav_pair_loss(scores, torch.stack(assignments, dim=1), loss.temperature)


@full_precision
def _scores(embedding: Tensor, prototypes: Tensor) -> Tensor:
    """Products (..., K) of embeddings (..., D) and prototypes (K, D).

    Upstream normalizes its prototypes in each step, in place, before it uses them.
    """
    dtype = torch.promote_types(prototypes.dtype, torch.float32)
    return F.linear(embedding.to(dtype), F.normalize(prototypes.to(dtype), dim=1))


def _assign(loss: Any, scores: Tensor, crop: int) -> Tensor:
    """Assignments (B, K) of a view with scores (B, K) that is trained on as the given crop."""
    batch_size, queue = len(scores), None if loss.queue is None else loss.queue[crop]
    # It is in use once it is full.
    if queue is not None and (loss.use_queue or not torch.all(queue[-1] == 0)):
        scores = torch.cat([_scores(queue, loss.prototypes.weight), scores])
    settings = loss.sinkhorn_iterations, loss.world_size, loss.epsilon
    return distributed_sinkhorn(scores, *settings)[-batch_size:]
