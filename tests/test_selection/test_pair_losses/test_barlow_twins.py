"""Barlow Twins: the influence of a sample against upstream's loss and its derivatives."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from hvs_mm.losses import barlow_twins_pair_loss
from hvs_mm.selection import build_pair_loss
from tests.helpers.tiny import GROUP_NORM, build_algorithm, build_hvs, random_views

WEIGHT, EPS = 0.0051, 1e-5


def loss_of_chunks(chunks, weights, off_diagonal=WEIGHT):
    """The loss of pairs of embeddings, two (B, D) a chunk, whose samples have weights (B,)."""
    correlation = 0
    for pair, weight in zip(chunks, weights):
        normalized = []
        for z in pair:
            mean = weight @ z
            variance = weight @ (z - mean).square()
            normalized.append((z - mean) / (variance + EPS).sqrt())
        correlation = correlation + (normalized[0] * weight[:, None]).T @ normalized[1]
    correlation = correlation / len(chunks)
    diagonal = correlation.diagonal()
    loss = (diagonal - 1).square().sum()
    return loss + off_diagonal * (correlation.square().sum() - diagonal.square().sum())


def influences(chunks):
    """The loss, and by autograd its derivative towards each sample, (B,) a chunk."""
    weights = [torch.full((len(a),), 1 / len(a), dtype=a.dtype) for a, _ in chunks]
    weights = [weight.requires_grad_() for weight in weights]
    loss = loss_of_chunks(chunks, weights)
    gradients = torch.autograd.grad(loss, weights)
    # Towards the sample, away from all samples of its chunk, a share of the whole batch.
    return loss.detach(), [len(chunks) * (g - g.mean()) for g in gradients]


def normalized(z):
    return (z - z.mean(0)) / (z.var(0, unbiased=False) + EPS).sqrt()


def test_it_is_the_loss_and_the_influence_on_it():
    views = torch.randn(6, 4, 9, dtype=torch.float64)
    # Views of one sample are alike.
    views = views + torch.randn(6, 1, 9, dtype=torch.float64)
    pair_loss = barlow_twins_pair_loss(normalized(views), WEIGHT)
    for t, s in combinations(range(4), 2):
        loss, (influence,) = influences([(views[:, t], views[:, s])])
        torch.testing.assert_close(pair_loss[:, t, s], loss + influence, rtol=0, atol=1e-10)
    torch.testing.assert_close(pair_loss, pair_loss.transpose(1, 2), rtol=0, atol=1e-10)


def test_each_process_normalizes_its_samples():
    chunks = torch.randn(3, 5, 2, 7, dtype=torch.float64)
    every = torch.cat([normalized(chunk) for chunk in chunks])
    loss, expected = influences([chunk.unbind(1) for chunk in chunks])
    for rank in range(3):
        mine = every[5 * rank : 5 * rank + 5]
        pair_loss = barlow_twins_pair_loss(mine, WEIGHT, rank, every)
        torch.testing.assert_close(pair_loss[:, 0, 1], loss + expected[rank], rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize('training', [True, False])
def test_against_upstream(training):
    """The mean over the samples is upstream's loss of the batch."""
    algorithm = build_algorithm('BarlowTwins', GROUP_NORM).train(training)
    views = random_views(batch_size=6)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
    for a, b in combinations(range(4), 2):
        expected = algorithm.loss([views[a], views[b]], None)['loss']
        for cell in (pair_loss[:, a, b], pair_loss[:, b, a]):
            torch.testing.assert_close(cell.mean(), expected, rtol=1e-5, atol=1e-5)


def test_it_predicts_what_leaving_a_sample_out_does():
    """To first order: hard samples are those whose pair the loss would be lower without."""
    z = torch.randn(64, 1, 8, dtype=torch.float64)
    pair = (z + 0.7 * torch.randn(64, 2, 8, dtype=torch.float64)).unbind(1)
    weight = torch.full((64,), 1 / 64, dtype=torch.float64)
    whole = loss_of_chunks([pair], [weight])
    without = []
    for b in range(64):
        rest = torch.where(torch.arange(64) == b, 0.0, 1 / 63).double()
        without.append(63 * (whole - loss_of_chunks([pair], [rest])))
    found = barlow_twins_pair_loss(normalized(torch.stack(pair, 1)), WEIGHT)[:, 0, 1] - whole
    assert torch.corrcoef(torch.stack([found, torch.stack(without)]))[0, 1] > 0.99


def test_a_pair_that_does_not_match_is_harder():
    z = torch.randn(32, 1, 16).expand(-1, 2, -1) + 0.1 * torch.randn(32, 2, 16)
    z[5, 1] = torch.randn(16)
    assert barlow_twins_pair_loss(normalized(z), WEIGHT)[:, 0, 1].argmax() == 5


def test_autocast_does_not_reach_the_maths():
    z = normalized(torch.randn(6, 4, 16))
    with torch.autocast('cpu', torch.bfloat16):
        inside = barlow_twins_pair_loss(z, WEIGHT)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, barlow_twins_pair_loss(z, WEIGHT))
    assert barlow_twins_pair_loss(z.bfloat16(), WEIGHT).dtype == torch.float32


def test_the_weight_of_the_head_is_honored():
    model = build_hvs('BarlowTwins', GROUP_NORM, candidates=[2], keep=[2])
    model.head.loss_module.lambd = 0.5
    losses = model.loss(random_views(2, batch_size=6))
    torch.testing.assert_close(losses['hvs_score'], losses['loss'].detach())
    assert F.l1_loss(losses['hvs_score'], losses['hvs_score_mean']) == 0
