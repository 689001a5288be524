"""Pair losses of methods that upstream computes partly in each process for itself."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations

import pytest
import torch

from hvs_mm.selection import build_pair_loss
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import GROUP_NORM, build_algorithm, random_views

PAIRS = list(combinations(range(4), 2))


def compare_on_a_rank(rank, folder):
    found = {}
    for name in ('BarlowTwins', 'SwAV'):
        torch.manual_seed(0)
        algorithm = build_algorithm(name, GROUP_NORM)
        # Both ranks draw the global batch of 12 and keep their half of it.
        views = [view[6 * rank : 6 * rank + 6] for view in random_views(batch_size=12)]
        with torch.no_grad():
            pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
            upstream = {
                (a, b): deepcopy(algorithm).loss([views[a], views[b]], None)['loss']
                for a, b in PAIRS
            }
        found[name] = pair_loss, upstream
    torch.save(found, f'{folder}/{rank}.pt')


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    run_ranks(compare_on_a_rank, 2, folder, str(folder))
    return [torch.load(folder / f'{rank}.pt') for rank in range(2)]


@pytest.mark.slow
def test_barlow_twins_correlates_the_samples_of_all_processes(ranks):
    losses = [rank['BarlowTwins'] for rank in ranks]
    for a, b in PAIRS:
        # Upstream's loss is the same in both processes, each sample's is its own.
        expected = losses[0][1][a, b]
        torch.testing.assert_close(losses[1][1][a, b], expected)
        for pair_loss, _ in losses:
            torch.testing.assert_close(pair_loss[:, a, b].mean(), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_swav_assigns_as_upstream_does_in_each_process(ranks):
    for rank in ranks:
        pair_loss, upstream = rank['SwAV']
        for a, b in PAIRS:
            mean = (pair_loss[:, a, b] + pair_loss[:, b, a]).mean() / 2
            torch.testing.assert_close(mean, upstream[a, b], rtol=0, atol=1e-5)
