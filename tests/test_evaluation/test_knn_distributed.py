"""Several processes give the answer of one, however the images lie with them."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader

from hvs_mm.evaluation import LabeledFeatures, extract_features, knn_accuracy
from tests.helpers.ranks import run_ranks

KS = (1, 7, 30)
NUM_BANK, NUM_QUERIES = 61, 23


def make(number, seed, exact):
    """Random features, or such whose cosines are exact in float32 and often equal."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(number, 16, generator=generator)
    labels = torch.randint(7, (number,), generator=generator)
    return LabeledFeatures(features.sign() if exact else features, labels, torch.arange(number))


def part(data, indices):
    indices = torch.tensor(indices, dtype=torch.int64)
    return LabeledFeatures(data.features[indices], data.labels[indices], indices)


def sampled(round_up):
    """The images MMEngine's sampler gives to this process."""

    def indices(number, rank, world_size):
        return list(DefaultSampler(range(number), shuffle=False, round_up=round_up, seed=0))

    return indices


def blocks(number, rank, world_size):
    size = math.ceil(number / world_size)
    # Out of order inside the block.
    return list(range(number))[rank * size : (rank + 1) * size][::-1]


def all_with_the_last(number, rank, world_size):
    return list(range(number)) if rank == world_size - 1 else []


def all_with_everyone(number, rank, world_size):
    return list(range(number))


LAYOUTS = {
    'uneven': (sampled(False), sampled(False)),
    'padded': (sampled(True), sampled(True)),
    'in blocks': (blocks, sampled(True)),
    'bank in one process': (all_with_the_last, sampled(False)),
    'queries in one process': (sampled(False), all_with_the_last),
    'everything everywhere': (all_with_everyone, all_with_everyone),
}


def layouts(rank, world_size):
    results = {}
    for exact in (False, True):
        bank, queries = make(NUM_BANK, 1, exact), make(NUM_QUERIES, 2, exact)
        for name, (of_bank, of_queries) in LAYOUTS.items():
            results[name, exact] = knn_accuracy(
                part(bank, of_bank(NUM_BANK, rank, world_size)),
                part(queries, of_queries(NUM_QUERIES, rank, world_size)),
                KS,
            )
    return results


def bad_input(rank, world_size):
    bank, queries = make(NUM_BANK, 1, False), make(NUM_QUERIES, 2, False)
    with pytest.raises(ValueError, match='k=62 neighbors, but the bank has only 61 images'):
        knn_accuracy(part(bank, blocks(NUM_BANK, rank, world_size)), queries, [62])
    with pytest.raises(ValueError, match='no images in the queries'):
        knn_accuracy(bank, part(queries, []), KS)
    other = LabeledFeatures(torch.ones(2, 3 + rank), *2 * [torch.arange(2)])
    with pytest.raises(ValueError, match=r'features of the processes have lengths \[3, 4'):
        knn_accuracy(other, queries, [1])


def more_processes_than_images(rank):
    # One image each for two processes; the third one does not even know the features' length.
    features = torch.eye(2)[rank : rank + 1] if rank < 2 else torch.empty(0, 0)
    own = torch.arange(2)[rank : rank + 1]
    data = LabeledFeatures(features, own, own)
    result = knn_accuracy(data, data, [1, 2])
    assert result.accuracy == {1: (100, 100), 2: (100, 100)}
    assert result[1:] == (2, 2)


class Norm(nn.Module):
    """Features that depend on the statistics of BatchNorm alone."""

    def __init__(self, mean):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.norm.running_mean += mean
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.norm(x.float()) * self.weight


def statistics_of_the_first_process(rank, world_size):
    """Every process has its own part of the images, but the features of one network."""
    dataset = [
        {'inputs': torch.full((3, 2, 2), float(i)), 'data_samples': DataSample().set_gt_label(i)}
        for i in range(5)
    ]
    sampler = DefaultSampler(dataset, shuffle=False, round_up=False, seed=0)
    loader = DataLoader(dataset, 2, sampler=sampler, collate_fn=default_collate)
    model = Norm(mean=rank)
    found = extract_features(model, loader)
    expected = torch.arange(rank, 5, world_size)
    assert torch.equal(found.indices, expected)
    assert torch.equal(found.labels, expected)
    torch.testing.assert_close(found.features[:, 0], expected.float(), rtol=1e-4, atol=0)
    # Afterwards it has its own again.
    assert model.norm.running_mean.tolist() == [rank] * 3


def _rank(rank, folder, world_size):
    results = layouts(rank, world_size)
    bad_input(rank, world_size)
    statistics_of_the_first_process(rank, world_size)
    if world_size == 3:
        more_processes_than_images(rank)
    torch.save(results, folder / f'{rank}.pt')


@pytest.mark.parametrize('world_size', [2, 3])
def test_several_processes(tmp_path, world_size):
    # One start of the processes for everything: it takes longer than all they do.
    run_ranks(_rank, world_size, tmp_path, tmp_path, world_size)
    paths = sorted(tmp_path.glob('*.pt'))
    assert len(paths) == world_size
    for exact in (False, True):
        alone = knn_accuracy(make(NUM_BANK, 1, exact), make(NUM_QUERIES, 2, exact), KS)
        assert alone[1:] == (NUM_BANK, NUM_QUERIES)
        for path in paths:
            results = torch.load(path, weights_only=False)
            for name in LAYOUTS:
                assert results[name, exact] == alone, (name, exact, path.name)
