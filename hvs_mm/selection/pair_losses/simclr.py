"""SimCLR: normalized temperature-scaled cross-entropy, NT-Xent (arXiv 2002.05709, eq. 1)."""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, get_rank
from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.ntxent import ntxent_pair_loss
from .base import Algorithm, PairLoss, Views
from .forward import project


@TASK_UTILS.register_module()
class SimCLRPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.SimCLR``; its negatives come from all ranks."""

    algorithms = ('SimCLR',)
    num_kept = 2
    head_loss = 'CrossEntropyLoss'
    # A sample without negatives has no loss.
    min_samples = 2
    all_targets = True
    one_size = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor, int]:
        embedding = project(algorithm, views)
        return embedding, torch.cat(all_gather(embedding.contiguous())), num_targets

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor, int]) -> Tensor:
        embedding, gathered, num_targets = outputs
        temperature = algorithm.head.temperature
        return ntxent_pair_loss(embedding, num_targets, temperature, get_rank(), gathered)
