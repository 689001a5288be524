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

    So disks and file servers read long pieces: the system is asked to read the blocks of the next
    window into its page cache, as a whole, while the images of a window are drawn, if the data set
    has ``read_ahead``. Each process has blocks of its own, from all over the data set; each image
    comes once an epoch, up to those that fill up the last batch. The order depends on the seed, the
    epoch and the number of processes. CorgiPile, `arXiv 2206.05830
    <https://arxiv.org/abs/2206.05830>`_, reports that SGD converges with it as with a full shuffle.

    Args:
        dataset: Data set to sample from.
        shuffle, seed, round_up: As for MMEngine's ``DefaultSampler``.
        block_size: Images in a block.
        window: Images in a window. Two of them should fit into the memory that the machine has
            left for each process.

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
        #: Draws of the next epoch that are skipped, because they were made before a resume.
        self.skipped = 0

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
        drawn = own.copy()
        for first in range(0, len(own), self.window):
            random.shuffle(drawn[first : first + self.window])
        if not hasattr(self.dataset, 'read_ahead'):
            return iter(drawn.tolist())
        return self._reading_ahead(own, drawn)

    def _reading_ahead(self, own: np.ndarray, drawn: np.ndarray) -> Iterator[int]:
        """Yield positions; ask for those of the next window, block by block, before they come."""
        asked = self.skipped - self.skipped % self.window
        for number, position in enumerate(drawn.tolist()):
            starts = number % self.block_size == 0 or number == self.skipped
            if starts and number >= self.skipped:
                end = number + self.window + self.block_size
                self.dataset.read_ahead(own[asked:end])
                asked = max(asked, end)
            yield position
