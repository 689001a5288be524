"""Random numbers that depend on where a run stands, and on nothing that happened before."""

# The transforms of MMCV and MMPretrain draw from the legacy generator.
# ruff: noqa: NPY002
from __future__ import annotations

import random
from collections.abc import Iterator
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler


def seed_all(*numbers: int) -> None:
    """Seed ``random``, NumPy's legacy generator and torch, on all devices, by several numbers.

    Args:
        numbers: Not negative. Other numbers give unrelated random numbers.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class SeededIndex(int):
    """Position of an image in a data set, and what to seed the drawing of its views by.

    Args:
        index: The position.
        seed: Numbers for :func:`seed_all`.
    """

    seed: tuple[int, ...]

    def __new__(cls, index: int, seed: tuple[int, ...]) -> SeededIndex:
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:
        return int(self), self.seed


class SeededSampler(Sampler):
    """The order of another sampler, with a seed for every draw, from any draw of an epoch on.

    The seed of a draw is the seed of the run, the epoch, and the number of the draw in the epoch
    counted over all processes, which share draws as MMEngine's ``DefaultSampler`` does: in turn.
    So an image gets the same views whichever process or worker draws them.

    Args:
        sampler: Gives indices in an order that depends on its ``seed`` and on ``set_epoch``; or
            the settings of one, whose ``seed``, if they name one, stays.
        dataset: For a sampler that is to be built, as
        seed: is this one.
    """

    def __init__(
        self, sampler: Sampler | dict[str, Any], dataset: Any = None, seed: int | None = None
    ) -> None:
        self._names_seed = isinstance(sampler, dict) and sampler.get('seed') is not None
        if isinstance(sampler, dict):
            sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.sampler = sampler
        self.epoch = 0
        #: How many draws of an epoch to leave out, which were made before.
        self.start = 0
        #: The seed of the run.
        self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def set_seed(self, seed: int) -> None:
        """Let all processes draw by a seed."""
        self.seed = seed
        if getattr(self.sampler, 'seed', None) is not None and not self._names_seed:
            self.sampler.seed = seed

    def __iter__(self) -> Iterator[SeededIndex]:
        rank, world_size = get_dist_info()
        draws = enumerate(self.sampler)
        for number, index in islice(draws, self.start, None):
            yield SeededIndex(index, (self.seed, self.epoch, number * world_size + rank))

    def __len__(self) -> int:
        # Of a whole epoch: what a loader tells of its length.
        return len(self.sampler)


class SeededDataset(Dataset):
    """Another data set, whose random transforms are seeded by who asks.

    All else is as with the other one: hooks read its attributes here, and set them.

    Args:
        dataset: One, or the settings of one.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getattr__(self, name: str) -> Any:
        # A copy, or what a worker unpickles, has none at first; and what is special about the other
        # one, such as how it is pickled or gives whole batches, is not so here.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'dataset':
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __copy__(self) -> SeededDataset:
        # Whoever changes a copy means to leave the data set of the run alone.
        return type(self)(copy(self.dataset))

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_all(*index.seed)
        return self.dataset[int(index)]

    def __len__(self) -> int:
        return len(self.dataset)
