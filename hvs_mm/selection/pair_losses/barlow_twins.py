"""Barlow Twins: influence of a sample on the cross-correlation loss (arXiv 2103.03230)."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_rank
from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.barlow_twins import barlow_twins_pair_loss
from .base import Algorithm, PairLoss, Views
from .forward import project


@TASK_UTILS.register_module()
class BarlowTwinsPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.BarlowTwins``; it correlates the samples of all ranks."""

    algorithms = ('BarlowTwins',)
    num_kept = 2
    head_loss = 'CrossCorrelationLoss'
    # A sample has no correlation.
    min_samples = 2
    all_targets = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        # Upstream's head normalizes view by view: (B, S, D)
        embedding = project(algorithm, views)
        embedding = torch.stack([algorithm.head.bn(view) for view in embedding.unbind(1)], 1)
        return embedding, torch.cat(all_gather(embedding.contiguous()))

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> Tensor:
        embedding, gathered = outputs
        weight = algorithm.head.loss_module.lambd
        return barlow_twins_pair_loss(embedding, weight, get_rank(), gathered)
