"""The order of ``BlockSampler``: whole, shuffled, local, and read ahead."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from mmengine.dataset import sampler as mmengine_sampler

from hvs_mm.datasets import BlockSampler
from hvs_mm.engine.runners.seeded_draws import SeededSampler


@pytest.fixture
def orders(monkeypatch):
    """The positions of each process."""

    def draw(length, processes, epoch=0, **settings):
        found = []
        for rank in range(processes):
            monkeypatch.setattr(mmengine_sampler, 'get_dist_info', lambda r=rank: (r, processes))
            sampler = BlockSampler(range(length), **{'seed': 0, **settings})
            sampler.set_epoch(epoch)
            found.append(list(sampler))
            assert len(sampler) == len(found[-1])
        return found

    return draw


@pytest.mark.parametrize(('length', 'processes', 'block', 'window'), [
    (1000, 1, 64, 256), (1001, 4, 64, 100), (7, 2, 256, 4096), (5, 8, 2, 2), (64, 2, 1, 1),
])  # fmt: skip
def test_each_image_comes_once(orders, length, processes, block, window):
    settings = dict(block_size=block, window=window)
    parts = orders(length, processes, round_up=False, **settings)
    assert sorted(chain(*parts)) == list(range(length))
    parts = orders(length, processes, **settings)
    assert len({len(part) for part in parts}) == 1
    counts = np.bincount(list(chain(*parts)), minlength=length)
    assert counts.min() == 1
    assert counts.sum() - length < processes


def test_the_order_depends_on_seed_and_epoch(orders):
    cases = ((0, 0), (0, 0), (0, 1), (1, 0))
    found = [orders(500, 2, epoch, seed=seed, block_size=16, window=64) for seed, epoch in cases]
    assert found[0] == found[1]
    for one, other in combinations(found[1:], 2):
        # Other images in a process, and another order of those that are the same.
        shared = set(one[0]) & set(other[0])
        assert len(shared) < 250
        assert [n for n in one[0] if n in shared] != [n for n in other[0] if n in shared]
    # As upstream's, without a shuffle.
    assert orders(6, 2, shuffle=False) == [[0, 2, 4], [1, 3, 5]]


def test_a_window_comes_from_few_blocks_all_over_the_data(orders):
    (order,) = orders(4096, 1, block_size=64, window=512)
    for window in np.array(order).reshape(-1, 512):
        # 8 whole blocks, in one order.
        blocks, counts = np.unique(window // 64, return_counts=True)
        assert counts.tolist() == [64] * 8
        assert blocks.max() - blocks.min() > 16
        assert (np.diff(window) == 1).mean() < 0.05


class _Asked:
    """A data set that notes what is to be read ahead."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 1000

    def read_ahead(self, positions):
        self.asked.append(positions.tolist())


@pytest.mark.parametrize('start', [0, 100, 333])
def test_what_is_read_ahead(start):
    dataset = _Asked()
    settings = dict(type='BlockSampler', block_size=10, window=100)
    sampler = SeededSampler(settings, dataset, seed=0)
    sampler.start = start
    drawn = []
    for position in sampler:
        drawn.append(int(position))
        asked = list(chain(*dataset.asked))
        # Each before it is drawn, once, and not all at once.
        assert position in asked
        assert len(asked) <= len(drawn) + 100 + 2 * 100
    assert len(asked) == len(set(asked))
    assert set(drawn) <= set(asked)
    # Nothing of the windows before a resume.
    assert len(asked) == 1000 - start // 100 * 100
