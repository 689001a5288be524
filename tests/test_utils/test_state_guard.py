from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage, revert_sync_batchnorm
from torch import nn

from hvs_mm.utils.state_guard import (
    StateGuard,
    own_random_numbers,
    preserve_state,
)
from tests.helpers.tiny import METHODS, MOMENTUM, build_algorithm, build_hvs, random_views
from tests.helpers.tiny_dino import build_dino, crops, random_samples


class Restless(nn.Module):
    """Does in its forward pass all that a forward pass can do to a module."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.eval_norm = nn.BatchNorm1d(4).eval()
        self.instance_norm = nn.InstanceNorm1d(4, track_running_stats=True)
        self.dropout = nn.Dropout(0.5)
        self.spectral = nn.utils.spectral_norm(nn.Linear(4, 4))
        self.register_buffer('counter', torch.zeros((), dtype=torch.long))
        self.register_buffer('center', torch.zeros(4))
        self.register_buffer('replaced', torch.zeros(2), persistent=False)

    def forward(self, x):
        self.counter += 1
        # Raises no version counter.
        self.center.data.copy_(x.detach().mean(0))
        self.replaced = self.replaced + 1
        x = self.spectral(self.eval_norm(self.norm(x)))
        return self.dropout(self.instance_norm(x[None].transpose(1, 2))[0])


def snapshot(module):
    return {name: value.clone() for name, value in module.named_buffers()}


def assert_unchanged(module, before):
    after = dict(module.named_buffers())
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def test_buffers_and_random_state():
    module = Restless()
    before, random_state = snapshot(module), torch.get_rng_state()
    identities = {name: id(buffer) for name, buffer in module.named_buffers()}
    with preserve_state(module):
        module(torch.randn(8, 4))
    assert_unchanged(module, before)
    assert identities == {name: id(buffer) for name, buffer in module.named_buffers()}
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(m.track_running_stats for m in (module.norm, module.eval_norm))


def test_the_pass_would_have_changed_everything():
    """Without the guard every buffer moves: the test above is not vacuous."""
    module = Restless()
    before = snapshot(module)
    module(torch.randn(8, 4))
    changed = {name for name, value in module.named_buffers() if not value.equal(before[name])}
    assert changed >= {'norm.running_mean', 'norm.num_batches_tracked', 'spectral.weight_u'}
    assert changed >= {'instance_norm.running_mean', 'counter', 'replaced', 'center'}


def test_outputs_are_those_of_train_mode():
    """Norms in train mode use batch statistics, those in eval mode their running ones."""
    module, x = Restless(), torch.randn(8, 4)
    module.norm.running_mean.fill_(3)
    module.eval_norm.running_mean.fill_(2)
    module.dropout.p = 0.0
    with preserve_state(module):
        guarded = module(x)
    torch.testing.assert_close(guarded, module(x))


def test_state_is_restored_after_an_error():
    module = Restless()
    before = snapshot(module)
    # Two channels too many for the linear layer, after the first norms have run.
    module.spectral = nn.utils.spectral_norm(nn.Linear(6, 4))
    before = snapshot(module)
    with pytest.raises(RuntimeError), preserve_state(module):
        module(torch.randn(8, 4))
    assert_unchanged(module, before)
    assert module.norm.track_running_stats


def test_selection_leaves_a_buffer_written_past_its_version_counter():
    model = build_hvs('SimSiam')
    model.backbone.register_buffer('center', torch.zeros(3))

    def write(module, args):
        module.center.data.copy_(args[0].mean((0, 2, 3)))

    model.backbone.register_forward_pre_hook(write)
    model.select_views(random_views())
    assert model.backbone.center.tolist() == [0, 0, 0]
    model.loss(random_views())
    assert model.backbone.center.abs().min() > 0


def test_a_buffer_that_is_created_and_one_that_nobody_can_write_to():
    module = nn.Module()
    module.register_buffer('lazy', None)
    module.register_buffer('expanded', torch.ones(1).expand(3))
    with preserve_state(module):
        module.lazy = torch.ones(2)
    assert module.lazy is None
    assert module.expanded.tolist() == [1, 1, 1]


def test_a_graph_that_holds_an_unchanged_buffer_stays_valid():
    module, x = nn.Module(), torch.ones(2, requires_grad=True)
    module.register_buffer('scale', torch.full((2,), 3.0))
    product = x * module.scale
    with preserve_state(module):
        pass
    product.sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_modes_and_buffers_after_evaluation():
    module = Restless()
    before = snapshot(module)
    with preserve_state(module, evaluate=True):
        assert not any(child.training for child in module.modules())
        module.norm.running_mean.fill_(3)
        module.eval_norm.train()
    assert_unchanged(module, before)
    assert module.norm.training
    assert not module.eval_norm.training


def draw():
    return random.random(), np.random.random(), torch.rand(()).item()


def test_own_random_numbers():
    with own_random_numbers(3):
        first = draw()
    states = random.getstate(), torch.get_rng_state()
    after = draw()
    random.setstate(states[0])
    torch.set_rng_state(states[1])
    with own_random_numbers(3):
        assert draw() == first
    assert draw()[::2] == after[::2]


# --- StateGuard ------------------------------------------------------------------------------


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


@pytest.mark.parametrize('name', [*METHODS, 'DINO', 'IBOT'])
def test_a_training_pass_is_undone(name):
    if name in ('DINO', 'IBOT'):
        model = build_dino(name, neck={'use_bn': True})
        views, samples = crops(2, 2), random_samples(3, 2)
    else:
        model = revert_sync_batchnorm(build_algorithm(name))
        views, samples = random_views(2), None
    model.train()
    snapshot = StateGuard(model, averages=True)
    if name in MOMENTUM:
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
        if name in MOMENTUM:
            assert f'{MOMENTUM[name]}.module.0.conv1.weight' in moved
        if name in ('MoCo', 'DenseCL'):
            assert {'queue', 'queue_ptr'} <= moved
        spoil(model)
        snapshot.restore()
        # Upstream normalizes them in each pass, which the next one would do again.
        normalized = {'head.loss_module.prototypes.weight'} if name == 'SwAV' else set()
        assert changed(before, all_of(model)) == normalized
        model.loss(views, samples)


def test_the_queue_of_swav():
    """It is no buffer, and a bad batch would stay in it for many steps."""
    model = revert_sync_batchnorm(build_algorithm('SwAV'))
    loss = model.head.loss_module
    loss.queue = torch.randn(2, 12, 16)
    queue, before = loss.queue, loss.queue.clone()
    snapshot = StateGuard(model, averages=True)
    snapshot.take()
    model.loss(random_views(2), None)
    assert not torch.equal(loss.queue, before)
    loss.queue[:] = torch.nan
    snapshot.restore()
    assert loss.queue is queue
    assert torch.equal(loss.queue, before)


def test_a_buffer_that_is_replaced():
    model = nn.Module()
    model.register_buffer('queue', torch.arange(3.0))
    model.register_buffer('nothing', None)
    original, snapshot = model.queue, StateGuard(model, averages=True)
    snapshot.take()
    original.mul_(2)
    model.queue = torch.full((5,), torch.nan)
    snapshot.restore()
    assert model.queue is original
    assert model.queue.tolist() == [0, 1, 2]
    model.queue = torch.ones(4)
    snapshot.take()
    model.queue.zero_()
    snapshot.restore()
    assert model.queue.tolist() == [1] * 4


def test_what_is_copied():
    """All that passes change, also the parameters that MMEngine averages."""
    averaged = nn.ModuleDict({'ema': ExponentialMovingAverage(nn.Linear(2, 2))})
    snapshot = StateGuard(averaged, averages=True)
    snapshot.take()
    with torch.no_grad():
        averaged['ema'].module.weight.zero_()
    averaged['ema'].steps += 1
    snapshot.restore()
    assert averaged['ema'].module.weight.abs().min() > 0
    assert averaged['ema'].steps == 0
