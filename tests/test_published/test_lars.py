"""What MMPretrain's LARS does differently, as docs/published.md says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.engine.optimizers import LARS
from torch import nn
from torch.testing import assert_close

from tests.helpers.configs import CONFIGS, build_on_meta, load

HVP = CONFIGS / 'published/hvp_simclr.py'
SETTINGS = load(HVP).optim_wrapper.optimizer
ETA = 1e-3


class RateOutside:
    """LARS with the learning rate applied to the momentum, not to what enters it."""

    def __init__(self, parameter, momentum, weight_decay):
        self.parameter, self.momentum, self.weight_decay = parameter, momentum, weight_decay
        self.buffer = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, lr):
        weight, gradient = self.parameter, self.parameter.grad
        norm, decayed = weight.norm(), gradient + self.weight_decay * weight
        trust = ETA * norm / (gradient.norm() + self.weight_decay * norm + 1e-8)
        self.buffer = self.momentum * self.buffer + trust * decayed
        weight -= lr * self.buffer


def both(rates, gradients):
    """The parameter after every step of MMPretrain's LARS and of the other one."""
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(64, dtype=torch.float64))
    theirs = nn.Parameter(ours.detach().clone())
    settings = dict(momentum=SETTINGS.momentum, weight_decay=SETTINGS.weight_decay)
    optimizer, other = LARS([ours], lr=1.0, eta=ETA, **settings), RateOutside(theirs, **settings)
    seen = [(ours.detach().clone(), theirs.detach().clone())]
    for lr, gradient in zip(rates, gradients):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.param_groups[0]['lr'] = lr
        optimizer.step()
        other.step(lr)
        seen.append((ours.detach().clone(), theirs.detach().clone()))
    return seen


def test_at_a_constant_rate_they_are_the_same():
    gradients = torch.randn(50, 64, dtype=torch.float64)
    for ours, theirs in both([SETTINGS.lr] * 50, gradients):
        assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_in_the_warm_up_steps_are_smaller():
    """By 9 / t in step t of those that are many, as the momentum of 0.9 remembers 9 steps."""
    # Batch 4096 of ImageNet-1k, 10 epochs; the rates are too small to turn the weights.
    rates = np.linspace(0, 1e-4, 10 * 312)
    gradient = torch.randn(64, dtype=torch.float64)
    seen = both(rates, gradient.expand(len(rates), -1))
    found = {}
    for step in (10, 100, 1000, 3119):
        steps = [(seen[step + 1][n] - seen[step][n]).norm() for n in range(2)]
        found[step] = (steps[0] / steps[1]).item()
    assert found == pytest.approx({10: 0.60, 100: 0.91, 1000: 0.991, 3119: 0.997}, abs=5e-3)


def test_what_is_left_out_of_decay_and_adaptation():
    model = build_on_meta(HVP)
    optimizer = build_optim_wrapper(model, load(HVP).optim_wrapper).optimizer
    left_out = [group for group in optimizer.param_groups if group.get('lars_exclude')]
    assert all(group['weight_decay'] == 0 for group in left_out)
    excluded = {id(p) for group in left_out for p in group['params']}
    assert excluded == {id(p) for p in model.parameters() if p.ndim == 1}
    total = sum(p.numel() for p in model.parameters())
    share = sum(p.numel() for p in model.parameters() if id(p) in excluded) / total
    assert share == pytest.approx(0.0021, abs=1e-4)
