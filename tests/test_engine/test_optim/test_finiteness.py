from __future__ import annotations

import math

import pytest
import torch

from hvs_mm.engine.optim.finiteness import finite_gradients, finite_values, first_nonfinite

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


@pytest.mark.parametrize('finite', [finite_gradients, finite_values])
def test_float16(finite):
    """Its largest number is 65504: norms and limits are not its own."""
    half = torch.float16
    # Norms of 131072 and 1.5e6, and 5.2e4 and 3.3e7.
    weight = torch.full((512, 512), 0.5, dtype=half)
    large = torch.full((512,), 65504.0, dtype=half)
    assert finite([torch.ones(2), weight, large], CPU)
    for bad in (INF, -INF, NAN):
        assert not finite([torch.ones(2), torch.tensor([1.0, bad], dtype=half)], CPU)
        assert not finite([torch.tensor([1.0, bad]), torch.ones(2, dtype=half)], CPU)
    assert (
        first_nonfinite([('weight', weight), ('bias', torch.tensor([INF], dtype=half))]) == 'bias'
    )


@pytest.mark.parametrize('finite', [finite_gradients, finite_values])
def test_sparse(finite):
    def gradient(*numbers):
        return torch.sparse_coo_tensor([[1, 1]], numbers, (4,))

    assert finite([torch.ones(2), gradient(1.0, 2.0)], CPU)
    assert not finite([torch.ones(2), gradient(1.0, NAN)], CPU)
    # Each is finite, what the optimizer takes is not.
    assert not finite([gradient(3e38, 3e38)], CPU)
    assert finite([gradient(3e38, -3e38)], CPU)


@pytest.mark.parametrize('finite', [finite_gradients, finite_values])
def test_several_devices(finite):
    """As of a model split over them; 'meta' has no numbers, but is one."""
    meta = torch.device('meta')
    found = finite([torch.ones(2), torch.ones(3, device=meta)], meta)
    assert found.device == meta
    assert found.shape == ()


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
