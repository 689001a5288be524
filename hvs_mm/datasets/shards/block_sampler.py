"""A shuffled order in which images that lie next to each other are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dataset import DefaultSampler
from mmpretrain.registry import DATA_SAMPLERS

from ...utils.arguments import check_whole


@DATA_SAMPLERS.register_module()
class BlockSampler(DefaultSampler):
    """Shuffles blocks of consecutive images, then images within a window of some blocks.

    A block is read from one place of a shard, so a disk or a file server reads long pieces, and a
    window, which comes from blocks all over the data set, stays in the page cache of the machine
    while its images are drawn. Each process has its own blocks; each image comes once an epoch, up
    to those that fill up the last batch. The order depends on the seed and the epoch alone.
    Block-level shuffling is as good as a full one for SGD: CorgiPile, `arXiv 2206.05830
    <https://arxiv.org/abs/2206.05830>`_.

    Args:
        dataset: Data set to sample from.
        shuffle, seed, round_up: As for MMEngine's ``DefaultSampler``.
        block_size: Images in a block.
        window: Images in a window.

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        block_size: int = 256,
        window: int = 4096,
    ) -> None:
        super().__init__(dataset, shuffle, seed, round_up)
        self.block_size = check_whole('block_size', block_size)
        self.window = check_whole('window', window)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the positions of this process."""
        if not self.shuffle:
            return super().__iter__()
        length = len(self.dataset)
        random = np.random.default_rng((self.seed, self.epoch))
        blocks = random.permutation(-(-length // self.block_size))
        # (blocks, block size): the last block is shorter.
        order = blocks[:, None] * self.block_size + np.arange(self.block_size)
        order = order[order < length]
        if self.round_up:
            start = self.rank * self.num_samples
        else:
            share, rest = divmod(length, self.world_size)
            start = self.rank * share + min(self.rank, rest)
        own = np.resize(order, self.total_size)[start : start + self.num_samples]
        random = np.random.default_rng((self.seed, self.epoch, self.rank))
        for first in range(0, len(own), self.window):
            random.shuffle(own[first : first + self.window])
        return iter(own.tolist())
