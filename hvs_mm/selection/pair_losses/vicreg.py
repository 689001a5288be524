"""VICReg: influence of a sample on the loss of the batch (arXiv 2105.04906)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ...losses.vicreg import vicreg_pair_loss
from ...utils.gathering import gather_ranks
from .base import Algorithm, PairLoss, Views
from .forward import project


@TASK_UTILS.register_module()
class VICRegPairLoss(PairLoss):
    """Pair loss of :class:`hvs_mm.models.VICReg`; its statistics are those of all ranks."""

    algorithms = ('VICReg',)
    num_kept = 2
    head_loss = 'VICRegHead'
    # A sample has no variance.
    min_samples = 2
    all_targets = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor, int]:
        embedding = project(algorithm, views)  # (B, S, D)
        return embedding, *gather_ranks(embedding)

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor, int]) -> Tensor:
        embedding, gathered, rank = outputs
        weights = algorithm.head.weights
        return vicreg_pair_loss(embedding, **weights, rank=rank, gathered=gathered)
