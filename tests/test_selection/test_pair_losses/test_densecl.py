"""DenseCL against upstream's own ``loss`` on single pairs of views."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations, product

import pytest
import torch
from torch.nn import functional as F

from hvs_mm.losses import dense_pair_loss
from hvs_mm.selection import build_pair_loss
from tests.helpers.tiny import GROUP_NORM, build_algorithm, build_hvs, move_momentum, random_views

#: Pixels of a view, for a map of 3 x 3 positions.
SIZE = 96


def upstream_losses(algorithm, view_a, view_b):
    """Upstream's losses (B,) of the samples, if the whole batch has this pair of views."""
    algorithm = deepcopy(algorithm)
    algorithm.head.loss_module.reduction = 'none'
    losses = algorithm.loss([view_a, view_b], None)
    # Of every position: (B * P,)
    dense = losses['loss_dense'].reshape(len(view_a), -1)
    assert dense.shape[1] == 9
    return losses['loss_single'] + dense.mean(1)


@torch.no_grad()
@pytest.mark.parametrize('loss_lambda', [0.0, 0.3, 1.0])
def test_densecl_against_upstream(loss_lambda):
    algorithm = build_algorithm('DenseCL', GROUP_NORM)
    algorithm.loss_lambda = loss_lambda
    move_momentum(algorithm, freeze=True)
    views = random_views(size=SIZE)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
    for a, b in combinations(range(4), 2):
        expected = upstream_losses(algorithm, views[a], views[b])
        for cell in (pair_loss[:, a, b], pair_loss[:, b, a]):
            torch.testing.assert_close(cell, expected, rtol=0, atol=1e-5)


def test_densecl_leaves_its_queues_to_the_training_step():
    model, views = build_hvs('DenseCL'), random_views()
    before = model.queue.clone(), model.queue2.clone()
    model.select_views(views)
    assert torch.equal(model.queue, before[0])
    assert torch.equal(model.queue2, before[1])
    model.loss(views)
    assert model.queue_ptr.item() == model.queue2_ptr.item() == 3


def test_dense_formula():
    sizes = {'query': (2, 3, 4, 5), 'key': (2, 2, 4, 5)}
    grids = {name: torch.randn(size) for name, size in sizes.items()}
    features = {name: torch.randn(*size[:3], 6) for name, size in sizes.items()}
    queue = F.normalize(torch.randn(5, 7), dim=0)
    arguments = (grids['query'], grids['key'], features['query'], features['key'], queue, 0.3)
    pair_loss = dense_pair_loss(*arguments)
    grids, features = (
        {name: F.normalize(one.double(), dim=-1) for name, one in part.items()}
        for part in (grids, features)
    )
    for b, t, s in product(range(2), range(2), range(3)):
        losses = []
        for p in range(4):
            alike = [features['query'][b, s, p] @ features['key'][b, t, q] for q in range(4)]
            match = max(range(4), key=alike.__getitem__)
            query = grids['query'][b, s, p]
            others = [query @ one for one in queue.double().T]
            logits = torch.stack([query @ grids['key'][b, t, match], *others]) / 0.3
            losses.append(-logits.log_softmax(0)[0])
        assert pair_loss[b, t, s].item() == pytest.approx(
            torch.stack(losses).mean().item(), abs=1e-5
        )
