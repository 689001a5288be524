"""MoCo v3: contrast with the momentum network's keys of the batch (arXiv 2104.02057)."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_rank
from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.moco import mocov3_pair_loss
from .base import Algorithm, PairLoss, Views
from .forward import forward_momentum, project_and_predict


@TASK_UTILS.register_module()
class MoCoV3PairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.MoCoV3``; its keys come from all ranks."""

    algorithms = ('MoCoV3',)
    num_kept = 2
    head_loss = 'CrossEntropyLoss'
    # A sample without negatives has no loss.
    min_samples = 2
    all_targets = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        query, online = project_and_predict(algorithm, views)
        key = forward_momentum(algorithm.momentum_encoder, views, online)
        return query, key, torch.cat(all_gather(key.contiguous()))

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        query, key, gathered = outputs
        return mocov3_pair_loss(query, key, algorithm.head.temperature, get_rank(), gathered)
