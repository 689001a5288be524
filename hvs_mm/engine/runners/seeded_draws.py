"""Random numbers that depend only on the position in a run."""

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
    """Seed ``random``, NumPy's legacy generator and torch on all devices.

    The ``numbers`` must not be negative. Others give unrelated random numbers.
    """
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class SeededIndex(int):
    """Position of an image in a data set, with the arguments of :func:`seed_all` for its views."""

    seed: tuple[int, ...]

    def __new__(cls, index: int, seed: tuple[int, ...]) -> SeededIndex:
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:  # type: ignore[override]
        return int(self), self.seed


class SeededSampler(Sampler):
    """The order of another sampler with a seed for every draw, from any draw of an epoch on.

    The seed of a draw consists of the seed of the run, the epoch, and the number of the draw in the
    epoch over all processes, which take draws in turn as with MMEngine's ``DefaultSampler``. So an
    image gets the same views whichever process or worker draws them.

    Args:
        sampler: Sampler whose order depends on its ``seed`` and on ``set_epoch``, or its settings,
            to which ``dataset`` and ``seed`` are added; a ``seed`` in these stays.
    """

    def __init__(
        self, sampler: Sampler | dict[str, Any], dataset: Any = None, seed: int | None = None
    ) -> None:
        self._has_own_seed = isinstance(sampler, dict) and sampler.get('seed') is not None
        if isinstance(sampler, dict):
            sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        #: With the ``seed``, ``set_epoch`` and length that it may have.
        self.sampler: Any = sampler
        self.epoch = 0
        #: Number of draws to skip at the start of an epoch, because they were made before a resume.
        self.start = 0
        #: The seed of the run.
        self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def set_seed(self, seed: int) -> None:
        """Set the seed of the run, which all processes share."""
        self.seed = seed
        if getattr(self.sampler, 'seed', None) is not None and not self._has_own_seed:
            self.sampler.seed = seed

    def __iter__(self) -> Iterator[SeededIndex]:
        rank, world_size = get_dist_info()
        if hasattr(self.sampler, 'skipped'):
            # It need not prepare these.
            self.sampler.skipped = self.start
        draws = enumerate(self.sampler)
        for number, index in islice(draws, self.start, None):
            yield SeededIndex(index, (self.seed, self.epoch, number * world_size + rank))

    def __len__(self) -> int:
        # Of a whole epoch, which is the length that a loader reports.
        return len(self.sampler)


class SeededDataset(Dataset):
    """Seeds the random transforms of another data set for every :class:`SeededIndex`.

    Hooks read and set the attributes of the other data set here.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getattr__(self, name: str) -> Any:
        # Copies and unpickled objects have no data set at first. Special methods, for example for
        # pickling or for whole batches, are not passed on.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'dataset':
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __copy__(self) -> SeededDataset:
        # Changes of a copy must not reach the data set of the run.
        return type(self)(copy(self.dataset))

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_all(*index.seed)
        return self.dataset[int(index)]

    def __len__(self) -> int:
        return len(self.dataset)
