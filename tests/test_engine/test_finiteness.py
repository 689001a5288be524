from __future__ import annotations

import math

import pytest
import torch

from hvs_mm.engine.finiteness import finite_gradients, finite_values, first_nonfinite

CPU = torch.device('cpu')
NAN, INF = math.nan, math.inf
NUMBERS = [[0.0, 1.0], [], [3e38], [-1e30, 2.0], [NAN], [1.0, -INF], [INF, -INF], [1.7e19]]


def squares_are_finite(numbers):
    """In float32, one after the other."""
    total = torch.zeros(())
    for number in numbers:
        total = total + torch.tensor(number) * torch.tensor(number)
    return math.isfinite(total.item())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('numbers', NUMBERS, ids=str)
def test_gradients(numbers, dtype):
    fine = torch.linspace(-2, 2, 12, dtype=dtype).view(3, 4)
    tensors = [fine, torch.tensor(numbers, dtype=dtype), torch.zeros(5, dtype=dtype)]
    assert bool(finite_gradients(tensors, CPU)) == squares_are_finite(numbers)


def test_a_usable_gradient_does_not_spoil_the_averages_of_adamw():
    """The largest that passes leaves finite averages, one twice as large does not."""
    for factor, is_fine in ((0.99, True), (2.0, False)):
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.full((1,), factor * torch.finfo(torch.float32).max ** 0.5)
        assert bool(finite_gradients([parameter.grad], CPU)) == is_fine
        # The average takes a thousandth of the square: without it, to be on the safe side.
        optimizer = torch.optim.AdamW([parameter], betas=(0.9, 0.0))
        optimizer.step()
        assert bool(optimizer.state[parameter]['exp_avg_sq'].isfinite()) == is_fine


@pytest.mark.parametrize('numbers', NUMBERS, ids=str)
def test_values(numbers):
    tensors = [torch.ones(2, 3), torch.tensor(numbers), torch.zeros(0)]
    assert bool(finite_values(tensors, CPU)) == all(map(math.isfinite, numbers))


def test_nothing_is_finite():
    assert finite_gradients([], CPU)
    assert finite_values([], CPU)


def test_the_first_that_is_not_finite():
    named = [
        ('count', torch.tensor(3)),
        ('weight', torch.ones(2)),
        ('bias', torch.tensor([1.0, NAN])),
        ('scale', torch.tensor([INF])),
    ]
    assert first_nonfinite(named) == 'bias'
    assert first_nonfinite(named[:2]) is None
