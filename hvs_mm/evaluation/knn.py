"""The weighted k-NN classifier with which DINO evaluates features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import all_gather, all_gather_object, all_reduce, broadcast, get_rank
from torch import Tensor

from ..utils.arguments import is_whole
from .features import LabeledFeatures
from .neighbors import merge_neighbors, nearest_neighbors, unpack_neighbors

#: Queries that go to all processes at once, and for which the bank passes over the device once.
_BLOCK = 8192
#: Queries whose votes, one per class, are in memory together.
_VOTE_CHUNK = 256
#: Features that are checked together.
_FINITE_CHUNK = 4096


class Accuracy(NamedTuple):
    """Share of queries, in percent, whose class is predicted first, or among the first five."""

    top1: float
    top5: float


class KNNResult(NamedTuple):
    """Accuracy by number of neighbors, and numbers of images over all processes."""

    accuracy: dict[int, Accuracy]
    num_bank: int
    num_queries: int


class _Shards(NamedTuple):
    """Which images of a data set the processes of a group hold."""

    #: For each process a mask (N,) bool over its images, false for those that occur before, in this
    #: process or one of lower rank.
    is_first: list[Tensor]
    #: Length of the features, 0 if there are none.
    dim: int
    #: (M,) int64 numbers of all images, each once, ascending, and their classes.
    indices: Tensor
    labels: Tensor


def check_knn_settings(k: Sequence[int], temperature: float, num_bank: int | None = None) -> None:
    """Check the settings of a k-NN classifier, also for a bank of ``num_bank`` images if given.

    Raises:
        TypeError: If a number of neighbors is no int.
        ValueError: If a setting is out of range.
    """
    if not k:
        raise ValueError('k=() names no number of neighbors, expected e.g. k=[10, 20].')
    for number in k:
        if not is_whole(number):
            raise TypeError(f'k={list(k)}: {number!r} is no int.')
        if number < 1:
            raise ValueError(f'k={list(k)}: every number of neighbors must be at least 1.')
    if not temperature > 0:
        raise ValueError(f'temperature={temperature} must be positive; DINO has 0.07.')
    if num_bank is not None and max(k) > num_bank:
        raise ValueError(
            f'k={max(k)} neighbors, but the bank has only {num_bank} images: set a smaller k, or '
            'give a larger bank.'
        )


def class_votes(similarity: Tensor, labels: Tensor, temperature: float, num_classes: int) -> Tensor:
    """Votes of neighbors for their classes, (Q, C) float64, 0 for classes without a neighbor.

    A neighbor's vote is ``exp(similarity / temperature)`` (`DINO, arXiv 2104.14294
    <https://arxiv.org/abs/2104.14294>`_, appendix F.1), here divided by that of the nearest one,
    so that no temperature makes it overflow.

    Args:
        similarity: (Q, k) cosine similarities, the nearest neighbor first.
        labels: (Q, k) int64 classes of the neighbors.
        temperature: Positive.
        num_classes: C.
    """
    similarity = similarity.double()
    votes = ((similarity - similarity[:, :1]) / temperature).exp()
    return votes.new_zeros(len(votes), num_classes).scatter_add_(1, labels, votes)


def class_ranks(votes: Tensor, labels: Tensor) -> Tensor:
    """Count the classes that are predicted before the right one, for ``votes`` (Q, C).

    The lower of two classes with equal votes comes first. A class without votes is not predicted.

    Returns:
        (Q,) int64, 0 if the prediction is right; C if nobody voted for the class.
    """
    own = votes.gather(1, labels[:, None])
    is_lower = torch.arange(votes.shape[1], device=votes.device) < labels[:, None]
    ranks = ((votes > own) | ((votes == own) & is_lower)).sum(1)
    return torch.where(own[:, 0] > 0, ranks, votes.shape[1])


@torch.no_grad()
def knn_accuracy(
    bank: LabeledFeatures,
    queries: LabeledFeatures,
    k: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    device: torch.device | str | None = None,
    query_chunk: int = 1024,
    bank_chunk: int = 4096,
) -> KNNResult:
    """Accuracy of the weighted k-NN classifier, for several k from one search.

    All processes of a group call this together, each with its own part of bank and queries; the
    parts may differ in size. Every query is searched in all parts, and every process gets the
    result that one process would compute from all data. An image that occurs several times, as in
    the padding of a distributed sampler, counts once.

    Args:
        bank: Images of known class.
        queries: Images to classify.
        k: Numbers of neighbors, each at least 1 and at most the size of the bank.
        temperature: Softmax temperature of the neighbor weights, see :func:`class_votes`.
        device: Where to compute, by default where the features of the bank are.
        query_chunk: Queries per matrix product, as ``bank_chunk`` in :func:`nearest_neighbors`.

    Raises:
        TypeError: If a k is no int.
        ValueError: If a setting is out of range, there is no bank or query, k is larger than the
            bank, the features of bank and queries differ in length, or some are not finite.

    Examples:
        >>> def random_features(number):
        ...     labels = torch.randint(10, (number,))
        ...     return LabeledFeatures(torch.randn(number, 8), labels, torch.arange(number))
        >>> result = knn_accuracy(random_features(1000), random_features(100), k=[20])
        >>> result.accuracy[20].top1  # in percent
    """
    check_finite(bank, 'bank')
    check_finite(queries, 'queries')
    bank_shards, query_shards = _gather_shards(bank), _gather_shards(queries)
    num_bank, num_queries = len(bank_shards.indices), len(query_shards.indices)
    if not num_bank or not num_queries:
        raise ValueError(f'there are no images in the {"queries" if num_bank else "bank"}.')
    if bank_shards.dim != query_shards.dim:
        raise ValueError(
            f'the features of the bank have length {bank_shards.dim}, those of the queries '
            f'{query_shards.dim}: both must come from one network.'
        )
    check_knn_settings(k, temperature, num_bank)
    rank = get_rank()
    bank = bank.select(bank_shards.is_first[rank])
    queries = queries.select(query_shards.is_first[rank])
    device = torch.device(bank.features.device if device is None else device)
    num_classes = 1 + int(max(bank_shards.labels.max(), query_shards.labels.max()))

    hits = torch.zeros(len(k), 2, dtype=torch.int64)
    for source, is_query in enumerate(query_shards.is_first):
        count = int(is_query.sum())
        for start in range(0, count, _BLOCK):
            rows = slice(start, min(start + _BLOCK, count))
            if source == rank:
                block = queries.features[rows].to(device).float()
            else:
                block = torch.empty(rows.stop - start, query_shards.dim, device=device)
            broadcast(block, source)
            found = nearest_neighbors(
                block, bank.features, bank.indices, max(k), query_chunk, bank_chunk
            )
            # (Q, processes * k) -> (Q, k)
            found = merge_neighbors(torch.cat(all_gather(found), dim=1), max(k))
            if source == rank:
                similarity, index = unpack_neighbors(found.cpu())
                classes = bank_shards.labels[torch.searchsorted(bank_shards.indices, index)]
                labels = queries.labels[rows].cpu()
                for row, number in enumerate(k):
                    neighbors = similarity[:, :number], classes[:, :number], labels
                    hits[row] += _count_hits(*neighbors, temperature, num_classes)
    all_reduce(hits)
    shares = (100 * hits.double() / num_queries).tolist()
    accuracy = {number: Accuracy(*share) for number, share in zip(k, shares)}
    return KNNResult(accuracy, num_bank, num_queries)


def _gather_shards(own: LabeledFeatures) -> _Shards:
    parts = all_gather_object((own.indices.cpu(), own.labels.cpu(), own.features.shape[1]))
    indices, labels = (torch.cat(tensors) for tensors in list(zip(*parts))[:2])
    sizes = [len(part[0]) for part in parts]
    dims = {dim for (_, _, dim), size in zip(parts, sizes) if size}
    if len(dims) > 1:
        raise ValueError(f'the features of the processes have lengths {sorted(dims)}.')
    first = torch.from_numpy(np.unique(indices.numpy(), return_index=True)[1])
    mask = torch.zeros_like(indices, dtype=torch.bool)
    mask[first] = True
    return _Shards(list(mask.split(sizes)), max(dims, default=0), indices[first], labels[first])


def _count_hits(
    similarity: Tensor, classes: Tensor, labels: Tensor, temperature: float, num_classes: int
) -> Tensor:
    """Count the queries whose class comes first, and among the first five."""
    hits = torch.zeros(2, dtype=torch.int64)
    for rows in torch.arange(len(labels)).split(_VOTE_CHUNK):
        votes = class_votes(similarity[rows], classes[rows], temperature, num_classes)
        ranks = class_ranks(votes, labels[rows])
        hits += torch.stack([(ranks < 1).sum(), (ranks < 5).sum()])
    return hits


def check_finite(data: LabeledFeatures, name: str) -> None:
    """Raise a ``ValueError`` if some features are NaN or infinite; ``name`` is that of the part."""
    chunks = data.features.split(_FINITE_CHUNK)
    count = sum(int((~chunk.isfinite().all(1)).sum()) for chunk in chunks)
    if count:
        raise ValueError(
            f'{count} of {len(data)} features of the {name} are NaN or infinite: the network has '
            'diverged, or images have such pixels.'
        )
