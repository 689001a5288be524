"""DenseCL: MoCo v2 on the whole view and on matched positions (arXiv 2011.09157)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn

from ...losses.densecl import dense_pair_loss
from ...losses.moco import moco_pair_loss
from .base import Algorithm, Views
from .forward import momentum_modules
from .moco import MoCoPairLoss, all_views

#: Projections (B, S, D), dense ones (B, S, P, D), and features (B, S, P, C) of S views.
Outputs = tuple[Tensor, Tensor, Tensor]


@TASK_UTILS.register_module()
class DenseCLPairLoss(MoCoPairLoss):
    """Pair loss of ``mmpretrain.models.DenseCL``: its global and its dense term, weighted."""

    algorithms = ('DenseCL',)
    one_size = True

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int
    ) -> tuple[Outputs, Outputs]:
        """Outputs of queries, all views but the last, and of keys, all but the first."""
        online = algorithm.backbone, algorithm.neck
        momentum = momentum_modules(algorithm.encoder_k, online)
        return _dense_outputs(online, views[:-1]), _dense_outputs(momentum, views[1:])

    def form(self, algorithm: Algorithm, outputs: tuple[Outputs, Outputs]) -> Tensor:
        (query, query_grid, query_features), (key, key_grid, key_features) = outputs
        weight, temperature = algorithm.loss_lambda, algorithm.head.temperature
        loss = (1 - weight) * moco_pair_loss(query, key, algorithm.queue, temperature)
        # Zero during the warm-up of DenseCLHook.
        if weight:
            grids = query_grid, key_grid, query_features, key_features
            loss = loss + weight * dense_pair_loss(*grids, algorithm.queue2, temperature)
        return all_views(loss)


def _dense_outputs(modules: Sequence[nn.Module], views: Views) -> Outputs:
    backbone, neck = modules
    features = backbone(torch.cat(list(views)))
    projection, grid, _ = neck(features)

    def by_sample(value: Tensor) -> Tensor:
        # (S * B, ...) -> (B, S, ...)
        return value.unflatten(0, (len(views), -1)).transpose(0, 1)

    # (B, S, D, P) -> (B, S, P, D)
    grid, features = (by_sample(value.flatten(2)).mT for value in (grid, features[0]))
    return by_sample(projection), grid, features
