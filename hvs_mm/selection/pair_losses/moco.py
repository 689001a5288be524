"""MoCo v2: contrast of a query with its key and a queue of keys (arXiv 2003.04297)."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn
from torch.nn import functional as F

from ...losses.moco import first_is_query, moco_pair_loss
from .base import Algorithm, PairLoss, Views
from .forward import forward_views, momentum_modules


@TASK_UTILS.register_module()
class MoCoPairLoss(PairLoss):
    """Pair loss of ``mmpretrain.models.MoCo``.

    The first kept view is the query, the second one the key, so the last candidate never is a
    query, and the first one never a key. Selection reads the queue as it is, and adds nothing.
    """

    algorithms = ('MoCo',)
    num_kept = 2
    head_loss = 'CrossEntropyLoss'
    all_targets = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, S - 1, D) of all views but the last, keys (B, S - 1, D) of all but the first.

        Without upstream's shuffle of keys among processes: it hides batch statistics from a network
        that learns, and nothing learns here.
        """
        online = algorithm.backbone, algorithm.neck
        momentum = momentum_modules(algorithm.encoder_k, online)
        return _embed(online, views[:-1]), _embed(momentum, views[1:])

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> Tensor:
        query, key = outputs
        loss = moco_pair_loss(query, key, algorithm.queue, algorithm.head.temperature)
        return all_views(loss)


def all_views(pair_loss: Tensor) -> Tensor:
    """The tensor (B, S, S) of all views from that (B, S - 1, S - 1) of keys and queries."""
    # The first view has no row as a key, the last one no column as a query.
    return first_is_query(F.pad(pair_loss, (0, 1, 1, 0)))


def _embed(modules: Sequence[nn.Module], views: Views) -> Tensor:
    backbone, neck = modules
    return forward_views(lambda x: neck(backbone(x))[0], views)
