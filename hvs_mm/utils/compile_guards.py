"""Keep torch.compile out of functions that it cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec('P')
R = TypeVar('R')


def compile_guards(function: Callable[P, R]) -> Callable[P, R]:
    """Keep torch.compile out of a function, but not out of those it calls.

    For code around the networks and the maths that reads the epoch, guards the state of a model or
    branches on values of the host. The networks and the maths then compile to whole graphs.
    """
    left_alone = torch.compiler.disable(function, recursive=False)

    # A separate function: torch 2.10 takes the marked one out of a bound method, without `self`.
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return left_alone(*args, **kwargs)

    return wrapper


def plain_drop_path(module: nn.Module) -> None:
    """Convert the rates of stochastic depth to Python floats, in place.

    MMPretrain (1.2.0, 1.3.6) takes them from ``numpy.linspace``. torch.compile takes a NumPy number
    for a tensor and cannot follow MMCV's ``if drop_prob == 0``.
    """
    # Plain torch does without MMCV.
    from mmcv.cnn.bricks import DropPath

    for child in module.modules():
        if isinstance(child, DropPath):
            child.drop_prob = float(child.drop_prob)
