from __future__ import annotations

import pytest
import torch
from mmengine.model import ExponentialMovingAverage, revert_sync_batchnorm
from torch import nn

from hvs_mm.engine.hooks.forward_snapshot import ForwardSnapshot
from tests.tiny import build_algorithm, random_views
from tests.tiny_dino import build_dino, crops, random_samples
from tests.tiny_dino import shake as shaken


def all_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def spoil(model):
    """What a bad batch does, and more: every buffer there is."""
    with torch.no_grad():
        for buffer in model.buffers():
            buffer.fill_(torch.nan if buffer.is_floating_point() else -1)


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL', 'DINO', 'IBOT'])
def test_a_training_pass_is_undone(name):
    if name in ('DINO', 'IBOT'):
        model = build_dino(name, neck={'use_bn': True})
        views, samples = crops(2, 2), random_samples(3, 2)
    else:
        model = revert_sync_batchnorm(build_algorithm(name))
        views, samples = random_views(2), None
    model.train()
    snapshot = ForwardSnapshot(model)
    if name == 'BYOL':
        # The first pass copies the network, only a later one averages.
        model.loss(views, samples)
        with torch.no_grad():
            for parameter in model.backbone.parameters():
                parameter.add_(1e-2)
    for _ in range(2):
        before = all_of(model)
        snapshot.take()
        model.loss(views, samples)
        moved = changed(before, all_of(model))
        assert any('running_mean' in name or 'center' in name for name in moved)
        if name == 'BYOL':
            assert 'target_net.module.0.conv1.weight' in moved
        spoil(model)
        snapshot.restore()
        assert changed(before, all_of(model)) == set()
        model.loss(views, samples)


def test_a_buffer_that_is_replaced():
    model = nn.Module()
    model.register_buffer('queue', torch.arange(3.0))
    model.register_buffer('nothing', None)
    original, snapshot = model.queue, ForwardSnapshot(model)
    snapshot.take()
    original.mul_(2)
    model.queue = torch.full((5,), torch.nan)
    assert snapshot.current()['queue'] is model.queue
    snapshot.restore()
    assert model.queue is original
    assert model.queue.tolist() == [0, 1, 2]
    model.queue = torch.ones(4)
    snapshot.take()
    model.queue.zero_()
    snapshot.restore()
    assert model.queue.tolist() == [1] * 4


def test_what_is_copied():
    """All that passes change; of what they do not change, no more than buffers."""
    model = shaken(build_dino('IBOT', neck={'use_bn': True}))
    snapshot = ForwardSnapshot(model)
    snapshot.take()
    floating = {n for n, b in model.named_buffers() if b.is_floating_point()}
    assert snapshot.current().keys() == floating
    averaged = nn.ModuleDict({'ema': ExponentialMovingAverage(nn.Linear(2, 2))})
    snapshot = ForwardSnapshot(averaged)
    snapshot.take()
    # Of those that MMEngine averages from finite weights nothing is to be checked.
    assert snapshot.current() == {}
    with torch.no_grad():
        averaged['ema'].module.weight.zero_()
    averaged['ema'].steps += 1
    snapshot.restore()
    assert averaged['ema'].module.weight.abs().min() > 0
    assert averaged['ema'].steps == 0
