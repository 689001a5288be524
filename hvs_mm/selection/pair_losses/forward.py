"""Forward candidate views through the networks of an algorithm, for pair losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .base import Algorithm

if TYPE_CHECKING:
    # Plain torch does without MMEngine.
    from mmengine.model import BaseAveragedModel


def forward_views(forward: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Forward S views (B, 3, H, W), those of one size in one batch, to features (B, S, D).

    Batch statistics are thus those of all views of a size, as in the code published with the paper.
    ``forward`` maps images (N, 3, H, W) to features (N, D), whose dtype they keep.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for position, view in enumerate(views):
        by_size.setdefault(tuple(view.shape[2:]), []).append(position)
    features: list[Tensor] = [torch.empty(0)] * len(views)
    for positions in by_size.values():
        # (n * B, 3, H, W) -> (n * B, D) -> n times (B, D)
        outputs = forward(torch.cat([views[position] for position in positions]))
        for position, output in zip(positions, outputs.chunk(len(positions))):
            features[position] = output
    return torch.stack(features, dim=1)


def project(algorithm: Algorithm, views: Sequence[Tensor]) -> Tensor:
    """Outputs (B, S, D) of backbone and neck for S views (B, 3, H, W)."""
    return forward_views(lambda x: algorithm.neck(algorithm.backbone(x))[0], views)


def project_and_predict(algorithm: Algorithm, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Outputs of ``head.predictor`` and of the neck, each (B, S, D), for S views (B, 3, H, W)."""
    projection = project(algorithm, views)
    # All views in one batch here, too: (B, S, D) -> (B * S, D) and back.
    prediction = algorithm.head.predictor([projection.flatten(0, 1)])[0]
    return prediction.unflatten(0, projection.shape[:2]), projection


def forward_momentum(network: BaseAveragedModel, views: Sequence[Tensor], online: Tensor) -> Tensor:
    """Outputs (B, S, D) of a momentum network for S views (B, 3, H, W).

    Upstream's algorithms update their momentum network within ``loss``, which selection must not,
    so these are the outputs of the step before. The very first update replaces the weights that the
    network was built with by the online ones. Before it, these are the ``online`` outputs
    (B, S, D).
    """
    outputs = forward_views(lambda x: network(x)[0], views)
    # Chosen on the device: asking for the count would make the host wait for it.
    return torch.where(network.steps > 0, outputs, online)


def momentum_modules(network: BaseAveragedModel, online: Sequence[nn.Module]) -> list[nn.Module]:
    """The modules of a momentum network, before its first update the ``online`` ones.

    For views that do not go through the online network; see :func:`forward_momentum`. The host
    waits for the count, as it does in the update that upstream's ``loss`` makes.
    """
    return list(network.module if network.steps > 0 else online)
