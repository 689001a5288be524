"""VICReg against Lightly's loss, and the influence of a sample against autograd."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from lightly.loss import VICRegLoss
from mmpretrain.registry import MODELS
from torch.nn import functional as F

from hvs_mm.losses import vicreg_loss, vicreg_pair_loss
from hvs_mm.losses.vicreg import EPS
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import build_pair_loss
from tests.helpers.tiny import GROUP_NORM, algorithm_config, build_algorithm, random_views

#: Of the three terms; the paper's, and each alone.
WEIGHTS = [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]


def weighted_loss(pair, weights, sample_weights):
    """The loss of a batch whose samples have weights (B,) that sum to one."""
    w = sample_weights[:, None]
    invariance, variance, covariance = weights
    loss = invariance * (w * (pair[0] - pair[1]).square()).sum(0).mean()
    for z in pair:
        centered = z - (w * z).sum(0)
        products = (w * centered).T @ centered * (len(z) / (len(z) - 1))
        spread = (products.diagonal() + EPS).sqrt()
        loss = loss + variance / 2 * F.relu(1 - spread).mean()
        other = products - products.diagonal().diag()
        loss = loss + covariance * other.square().sum() / z.shape[1]
    return loss


def views_of(samples, num_views=3, dim=7):
    """Alike within a sample; some dimensions have a deviation above one, some below."""
    views = torch.randn(samples, num_views, dim) + torch.randn(samples, 1, dim)
    return (views * torch.linspace(0.1, 1.5, dim)).double()


@pytest.mark.parametrize('weights', WEIGHTS)
def test_it_is_the_loss_and_the_influence_on_it(weights):
    views = views_of(6)
    pair_loss = vicreg_pair_loss(views, *weights)
    for t, s in combinations(range(3), 2):
        pair = views[:, t], views[:, s]
        share = torch.full((6,), 1 / 6, dtype=torch.float64, requires_grad=True)
        loss = weighted_loss(pair, weights, share)
        (gradient,) = torch.autograd.grad(loss, share)
        expected = loss.detach() + gradient - gradient.mean()
        for cell in (pair_loss[:, t, s], pair_loss[:, s, t]):
            torch.testing.assert_close(cell, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize('weights', WEIGHTS)
def test_the_loss_is_lightlys(weights):
    pair = [z.requires_grad_() for z in views_of(6, num_views=2).unbind(1)]
    found, expected = vicreg_loss(*pair, *weights), VICRegLoss(*weights)(*pair)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for mine, theirs in zip(*(torch.autograd.grad(loss, pair) for loss in (found, expected))):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_a_process_has_its_samples_of_the_joint_batch():
    views = views_of(8)
    expected = vicreg_pair_loss(views)
    for rank in range(2):
        own = views.chunk(2)[rank]
        found = vicreg_pair_loss(own, rank=rank, gathered=views)
        torch.testing.assert_close(found, expected.chunk(2)[rank], rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_mean_is_the_loss_of_the_algorithm():
    algorithm = build_algorithm('VICReg', GROUP_NORM)
    # Off the defaults, which a pair loss of its own weights would not notice.
    algorithm.head.weights.update(variance=5.0, covariance=3.0)
    views = random_views(batch_size=6)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
    for a, b in combinations(range(4), 2):
        expected = algorithm.loss([views[a], views[b]], None)['loss']
        torch.testing.assert_close(pair_loss[:, a, b].mean(), expected, rtol=1e-5, atol=1e-5)


def test_heads_that_it_does_not_describe():
    other = algorithm_config('BarlowTwins')['head']
    with pytest.raises(ValueError, match=r'head\.loss is CrossCorrelationLoss: VICRegPair'):
        HVSAlgorithm({**algorithm_config('VICReg'), 'head': other}, [4], [2])
    with pytest.raises(ValueError, match=r'head\.loss is VICRegHead: BarlowTwinsPairLoss'):
        HVSAlgorithm({**algorithm_config('BarlowTwins'), 'head': {'type': 'VICRegHead'}}, [4], [2])
    with pytest.raises(ValueError, match=r"head\.variance='x' must be a number of at least 0"):
        MODELS.build({'type': 'VICRegHead', 'variance': 'x'})


def test_autocast_does_not_reach_the_maths():
    z = torch.randn(6, 4, 16)
    with torch.autocast('cpu', torch.bfloat16):
        inside = vicreg_pair_loss(z), vicreg_loss(z[:, 0], z[:, 1])
    assert torch.equal(inside[0], vicreg_pair_loss(z))
    assert torch.equal(inside[1], vicreg_loss(z[:, 0], z[:, 1]))
    assert vicreg_loss(z[:, 0].bfloat16(), z[:, 1].bfloat16()).dtype == torch.float32
