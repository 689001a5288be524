"""Weights, statistics and other buffers of a module, to compare two of them bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, with those that checkpoints leave out."""
    state = {name: value.clone() for name, value in module.named_parameters()}
    state.update({name: value.clone() for name, value in module.named_buffers()})
    return state


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name
