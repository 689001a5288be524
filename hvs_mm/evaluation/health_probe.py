"""Measure the health of a network on batches of its training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, cast

import torch
from mmengine.dist import all_gather, all_reduce
from mmpretrain.models.necks import SwAVNeck
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.necks.dino_neck import DINONeck
from ..models.selfsup.dino import DINO, global_views
from ..selection.output_sums import OutputSums
from ..utils.state_guard import preserve_state
from .features import own_model, pool_features
from .health import OutputEntropy, alignment, feature_std, rank_me, uniformity

#: Fewer images of a batch say too little about the statistics of BatchNorm.
_MIN_BATCH = 32


@torch.no_grad()
def measure_health(
    model: nn.Module, batches: Iterable[dict[str, Any]], num_images: int = 512
) -> dict[str, float]:
    """Measure the health of a self-supervised model; it needs no labels.

    The model works as in its training, but in float32 and, except for the student's outputs,
    without dropout: BatchNorm normalizes with the statistics of a batch. Its running ones lag
    behind a network that changes quickly, whose outputs would look alike. Weights, buffers, modes
    and random states stay as they were.

    All processes of a group call this together, each with batches of its own, and get the same
    numbers.

    Args:
        model: An algorithm of MMPretrain, also in ``HVSAlgorithm`` or DistributedDataParallel.
        batches: Batches of the training, before the ``data_preprocessor``.
        num_images: Images of each process to measure on, at most.

    Returns:
        - ``feature_rank``, ``projection_rank``: see :func:`rank_me`,
        - ``feature_std``, ``projection_std``: see :func:`feature_std`,
        - ``alignment``, ``uniformity``: see there; of the projections, on which the losses act,
        - ``teacher_entropy``, ``teacher_mean_entropy``: mean entropy of the teacher's outputs and
          entropy of their mean, as shares of the largest possible; DINO and iBOT only,
        - ``teacher_information``: see :func:`image_information`; likewise,
        - ``student_information``: the same of the student's outputs for all views, in which image
          and view can differ; likewise,
        - ``feature_dim``, ``projection_dim``, ``prototypes``, ``images``: the sizes.

        Features are those of the network that k-NN evaluates, of DINO and iBOT the teacher's;
        their projections are the bottleneck, of which the outputs are linear functions. Alignment
        compares the first and the last view of the first one's size, which are drawn
        independently, whatever is selected; all else but the student's information is of the first.
        Empty if a process has fewer than two images.
    """
    algorithm, batches = own_model(model), list(batches)
    # As many passes in all processes, which SyncBN waits for.
    batches = batches[: _smallest(len(batches))]
    parts: list[dict[str, Tensor]] = []
    outputs: list[dict[str, OutputSums]] = []
    count = 0
    for batch in batches:
        limit = max(num_images - count, _MIN_BATCH)
        views = algorithm.data_preprocessor(batch, True)['inputs']
        views = [views] if isinstance(views, Tensor) else views
        views = [view[:limit] for view in views]
        with _training_statistics(algorithm):
            parts.append(_embed(algorithm, _pair(views)))
        outputs.append(_outputs(algorithm, views) if isinstance(algorithm, DINO) else {})
        count += len(views[0])
    count = _smallest(min(count, num_images))
    if count < 2:
        return {}
    joined = {name: torch.cat([part[name] for part in parts])[:count] for name in parts[0]}
    gathered = {name: torch.cat(all_gather(rows)) for name, rows in joined.items()}
    return {**_of_embeddings(gathered), **_of_outputs(outputs)}


def _smallest(number: int) -> int:
    """The smallest of the numbers of all processes."""
    smallest = torch.tensor(number)
    all_reduce(smallest, 'min')
    return int(smallest)


@contextmanager
def _training_statistics(module: nn.Module) -> Iterator[None]:
    """Leave out dropout, but keep the statistics of batches that BatchNorm has in the training."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    # It restores running statistics and modes, too.
    with preserve_state(module, evaluate=True):
        for norm in norms:
            norm.train()
        yield


def _pair(views: list[Tensor]) -> list[Tensor]:
    """The first and the last view of the first one's size, if there are two."""
    large = global_views(views)
    return large[:1] + large[1:][-1:]


def _embed(algorithm: BaseSelfSupervisor, views: list[Tensor]) -> dict[str, Tensor]:
    """Features of the first view, and projections of all."""
    features, projections = zip(*(_network(algorithm, view) for view in views))
    found = {'features': features[0], 'first': projections[0], 'second': projections[-1]}
    if len(views) < 2:
        del found['second']
    return {name: value.float() for name, value in found.items() if value is not None}


def _network(algorithm: BaseSelfSupervisor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features (B, C) and projections (B, D) of images (B, 3, H, W)."""
    if isinstance(algorithm, DINO):
        output = algorithm.teacher['backbone'](images)
        projector = cast(DINONeck, algorithm.teacher['neck'])
        return pool_features(output), projector.project(projector.pool(output))
    output = algorithm.backbone(images)
    neck = algorithm.neck
    if isinstance(neck, SwAVNeck):
        # It takes the outputs for several sizes of views.
        return pool_features(output), neck([output])
    return pool_features(output), None if neck is None else neck(output)[0]


def _outputs(algorithm: DINO, views: list[Tensor]) -> dict[str, OutputSums]:
    """Outputs over prototypes of teacher and student."""
    head = algorithm.head
    with _training_statistics(algorithm):
        teacher = algorithm.teacher_logits(views[:1])[:, 0] - head.center
    # As in a step, with all views and stochastic depth. BatchNorm magnifies whatever differs in a
    # batch: without these the outputs of a student that goes uniform differ up to 400 times more.
    with preserve_state(algorithm):
        student = algorithm.student_logits(views)
    return {
        'teacher': OutputSums.of((teacher.float() / head.current_teacher_temp()).softmax(1)),
        'student': OutputSums.of_logits(student, head.student_temp),
    }


def _of_embeddings(found: dict[str, Tensor]) -> dict[str, float]:
    features = found['features']
    scalars = {
        'feature_rank': rank_me(features),
        'feature_std': feature_std(features),
        'feature_dim': features.shape[1],
        'images': len(features),
    }
    if 'first' in found:
        first = found['first']
        scalars.update(
            projection_rank=rank_me(first),
            projection_std=feature_std(first),
            projection_dim=first.shape[1],
            uniformity=uniformity(first),
        )
    if 'second' in found:
        scalars['alignment'] = alignment(found['first'], found['second'])
    return scalars


def _of_outputs(outputs: list[dict[str, OutputSums]]) -> dict[str, float]:
    if not outputs[0]:
        return {}
    totals = {}
    for name in outputs[0]:
        total = OutputSums(
            *(reduce(torch.add, parts) for parts in zip(*(sums[name] for sums in outputs)))
        )
        totals[name] = total.over_processes()
    teacher = totals['teacher']
    entropy = OutputEntropy.of(teacher)
    return {
        'teacher_entropy': entropy.of_samples,
        'teacher_mean_entropy': entropy.of_mean,
        'teacher_information': teacher.information().item(),
        'student_information': totals['student'].information().item(),
        'prototypes': len(teacher.probabilities),
    }
