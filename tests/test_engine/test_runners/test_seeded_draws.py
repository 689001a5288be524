"""The order of images and the random numbers of a run."""

from __future__ import annotations

import copy
import pickle
import random
from itertools import chain

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, DefaultSampler

from hvs_mm.datasets import ShapesDataset
from hvs_mm.engine.runners.seeded_draws import SeededDataset, SeededIndex, SeededSampler, seed_all

IMAGES, BATCH = 10, 2


class Draws:
    """A data set that tells what random numbers an item is made of."""

    def __init__(self):
        self.metainfo = dict(classes=())

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def epoch(epoch=0, seed=0, start=0, workers=0):
    sampler = SeededSampler(DefaultSampler(range(IMAGES), seed=1))
    sampler.set_seed(seed)
    sampler.set_epoch(epoch)
    sampler.start = start
    loader = torch.utils.data.DataLoader(
        SeededDataset(Draws()),
        batch_size=BATCH,
        sampler=sampler,
        num_workers=workers,
        collate_fn=list,
    )
    return list(chain.from_iterable(loader))


def test_an_item_depends_on_seed_epoch_and_place_alone():
    whole = epoch()
    assert sorted(index for index, *_ in whole) == list(range(IMAGES))
    torch.rand(3)
    assert epoch() == whole
    assert epoch(workers=2) == whole
    for start in (2, 8, 10):
        assert epoch(start=start) == whole[start:]
    numbers = [item[1:] for e in (0, 1) for s in (0, 1) for item in epoch(e, s)]
    assert len(set(chain.from_iterable(numbers))) == 3 * 4 * IMAGES


def test_processes_share_the_draws_of_one(monkeypatch):
    whole = epoch()
    for rank in (0, 1):
        for module in ('hvs_mm.engine.runners.seeded_draws', 'mmengine.dataset.sampler'):
            monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, 2))
        assert epoch() == whole[rank::2]


def test_the_order_is_that_of_the_wrapped_sampler():
    inner = DefaultSampler(range(IMAGES), seed=5)
    sampler = SeededSampler(DefaultSampler(range(IMAGES), seed=5))
    assert len(sampler) == IMAGES
    for number in range(3):
        sampler.set_epoch(number)
        inner.set_epoch(number)
        assert list(sampler) == list(inner)
    inner = torch.utils.data.SequentialSampler(range(IMAGES))
    wrapped = SeededSampler(inner)
    wrapped.set_seed(3)
    wrapped.set_epoch(2)
    assert list(wrapped) == list(range(IMAGES))


def test_an_index_keeps_its_seed_on_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SeededIndex(3, (1, 2, 3))))
    assert (index, index.seed) == (3, (1, 2, 3))
    draws = Draws()
    assert SeededDataset(draws).metainfo is draws.metainfo
    assert not hasattr(SeededDataset([0]), 'metainfo')


def test_a_data_set_is_used_as_it_was_without_the_wrapper():
    dataset = SeededDataset(ShapesDataset(num_samples=4))
    assert dataset.get_cat_ids(2) == dataset.dataset.get_cat_ids(2)
    # As MMDetection's PipelineSwitchHook does.
    dataset.pipeline = changed = Compose([lambda sample: sample['sample_idx']])
    assert dataset.dataset.pipeline is changed
    assert dataset[3] == 3
    with pytest.raises(AttributeError, match=r'no attribute .nothing'):
        dataset.nothing  # noqa: B018
    # A copy is another one, as of the data set itself.
    other = copy.copy(dataset)
    other.pipeline = None
    assert dataset.dataset.pipeline is changed
    dataset.pipeline = None
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert type(other) is SeededDataset
        assert other.dataset is not dataset.dataset
        assert len(other) == 4


def test_a_data_set_that_gives_whole_batches_is_seeded_too():
    class Batches(Draws):
        def __getitems__(self, indices):
            raise NotImplementedError

    loader = torch.utils.data.DataLoader(
        SeededDataset(Batches()), batch_size=2, collate_fn=list, sampler=SeededSampler(range(2))
    )
    assert list(loader) == list(loader)


def test_all_generators_are_seeded():
    seed_all(1, 2)
    first = random.random(), np.random.rand(), torch.rand(()).item()
    seed_all(1, 2)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == first
    seed_all(2, 1)
    assert random.random() != first[0]
