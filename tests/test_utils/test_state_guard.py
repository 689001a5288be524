from __future__ import annotations

import pytest
import torch
from torch import nn

from hvs_mm.utils.state_guard import preserve_state


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
        self.register_buffer('replaced', torch.zeros(2), persistent=False)

    def forward(self, x):
        self.counter += 1
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
    assert changed >= {'instance_norm.running_mean', 'counter', 'replaced'}


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
