"""MoCo v2 and v3 against upstream's own ``loss`` on single pairs of views."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations, product

import pytest
import torch
from mmpretrain.registry import MODELS
from torch.nn import functional as F

from hvs_mm.losses import moco_pair_loss, mocov3_pair_loss
from hvs_mm.losses.moco import first_is_query
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import build_pair_loss
from tests.helpers.tiny import (
    GROUP_NORM,
    algorithm_config,
    build_algorithm,
    build_hvs,
    move_momentum,
    random_views,
)

PAIRS = list(combinations(range(4), 2))


def upstream_losses(algorithm, view_a, view_b):
    """Upstream's losses (B,) of the samples, if the whole batch has this pair of views."""
    # It adds to the queue and counts its updates.
    algorithm = deepcopy(algorithm)
    algorithm.head.loss_module.reduction = 'none'
    return algorithm.loss([view_a, view_b], None)['loss']


def vit_config():
    """MoCo v3 with its own vision transformer."""
    config = algorithm_config('MoCoV3', GROUP_NORM)
    arch = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=24)
    config['backbone'] = dict(type='MoCoV3ViT', arch=arch, img_size=32, patch_size=8)
    config['neck'].update(in_channels=24, with_avg_pool=False)
    return config


@torch.no_grad()
@pytest.mark.parametrize('backbone', ['ResNet', 'MoCoV3ViT'])
def test_mocov3_against_upstream(backbone):
    config = vit_config() if backbone == 'MoCoV3ViT' else algorithm_config('MoCoV3', GROUP_NORM)
    # Upstream's weight, which says nothing about the views.
    config['head']['loss']['loss_weight'] = 0.4
    algorithm = MODELS.build(config)
    move_momentum(algorithm, freeze=True)
    views = random_views(batch_size=5)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
    assert pair_loss.shape == (5, 4, 4)
    for a, b in PAIRS:
        expected = upstream_losses(algorithm, views[a], views[b]) / 0.4
        both = pair_loss[:, a, b] + pair_loss[:, b, a]
        torch.testing.assert_close(both, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('name', ['MoCoV3', 'MoCo'])
def test_before_the_first_update_keys_are_of_the_online_network(name):
    algorithm = build_algorithm(name, GROUP_NORM)
    network = algorithm.momentum_encoder if name == 'MoCoV3' else algorithm.encoder_k
    for parameter in network.module.parameters():
        parameter += 1
    views = random_views(2)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 2)
    # Upstream's loss makes that update before it computes keys.
    expected = upstream_losses(algorithm, *views)
    score = (pair_loss[:, 0, 1] + pair_loss[:, 1, 0]) / (1 if name == 'MoCoV3' else 2)
    torch.testing.assert_close(score, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_moco_against_upstream():
    algorithm = build_algorithm('MoCo', GROUP_NORM)
    move_momentum(algorithm, freeze=True)
    views = random_views()
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
    for a, b in PAIRS:
        expected = upstream_losses(algorithm, views[a], views[b])
        # The first view of the two is the query of the training step, in either cell.
        for cell in (pair_loss[:, a, b], pair_loss[:, b, a]):
            torch.testing.assert_close(cell, expected, rtol=0, atol=1e-5)
        assert not torch.allclose(expected, upstream_losses(algorithm, views[b], views[a]))
    assert (torch.diagonal(pair_loss, dim1=1, dim2=2) == 0).all()


def test_moco_scores_are_the_training_loss():
    model = build_hvs('MoCo', GROUP_NORM, candidates=[3, 2], keep=[1, 1])
    move_momentum(model.algorithm, freeze=True)
    losses = model.loss(random_views(5))
    torch.testing.assert_close(losses['hvs_score'], losses['loss'].detach(), rtol=0, atol=1e-5)


def test_moco_leaves_the_queue_to_the_training_step():
    model, views = build_hvs('MoCo'), random_views()
    before = model.queue.clone()
    model.select_views(views)
    assert torch.equal(model.queue, before)
    assert model.queue_ptr.item() == 0
    model.loss(views)
    # One key for each sample, although three views had one.
    assert (model.queue != before).any(0).tolist() == [True] * 3 + [False] * 45
    assert model.queue_ptr.item() == 3


def test_moco_forwards_no_view_that_has_no_part():
    model, views = build_hvs('MoCo'), random_views()
    move_momentum(model.algorithm)
    calls = []
    for network in (model.backbone, model.encoder_k.module[0]):
        network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0]))
    model.select_views(views)
    query, key = calls
    assert torch.equal(query, torch.cat(views[:3]))
    assert torch.equal(key, torch.cat(views[1:]))


# --- Formulas --------------------------------------------------------------------------------


def test_mocov3_formula():
    query, key = torch.randn(4, 5, 7), torch.randn(4, 3, 7)
    pair_loss = mocov3_pair_loss(query, key, 0.3)
    q, k = F.normalize(query.double(), dim=-1), F.normalize(key.double(), dim=-1)
    for b, t, s in product(range(4), range(3), range(5)):
        logits = torch.stack([q[b, s] @ k[c, t] for c in range(4)]) / 0.3
        assert pair_loss[b, t, s].item() == pytest.approx(
            -logits.log_softmax(0)[b].item(), abs=1e-5
        )


def test_moco_formula():
    query, key = torch.randn(4, 5, 7), torch.randn(4, 3, 7)
    queue = F.normalize(torch.randn(7, 11), dim=0)
    pair_loss = moco_pair_loss(query, key, queue, 0.3)
    q, k = F.normalize(query.double(), dim=-1), F.normalize(key.double(), dim=-1)
    for b, t, s in product(range(4), range(3), range(5)):
        others = [q[b, s] @ one for one in queue.double().T]
        logits = torch.stack([q[b, s] @ k[b, t], *others]) / 0.3
        assert pair_loss[b, t, s].item() == pytest.approx(
            -logits.log_softmax(0)[0].item(), abs=1e-5
        )


def test_the_earlier_view_is_the_query():
    pair_loss = torch.arange(9.0).reshape(1, 3, 3)
    assert first_is_query(pair_loss).tolist() == [[[0, 3, 6], [3, 0, 7], [6, 7, 0]]]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_low_precision_is_computed_in_float32(dtype):
    query, key = torch.randn(3, 4, 16).to(dtype), torch.randn(3, 4, 16).to(dtype)
    queue = F.normalize(torch.randn(16, 8), dim=0)
    for loss in (
        lambda *views: moco_pair_loss(*views, queue, 0.2),
        lambda *views: mocov3_pair_loss(*views, 0.2),
    ):
        with torch.autocast('cpu', torch.bfloat16):
            inside = loss(query, key)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, loss(query.float(), key.float()))


def test_mocov3_takes_exactly_two_views():
    with pytest.raises(ValueError, match='MoCoV3 trains on exactly 2'):
        HVSAlgorithm(algorithm_config('MoCoV3'), [4], [3])
