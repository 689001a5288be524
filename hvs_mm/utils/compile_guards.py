"""What torch.compile needs to know."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

P = ParamSpec('P')
R = TypeVar('R')


def compile_guards(function: Callable[P, R]) -> Callable[P, R]:
    """Keep torch.compile out of a function, but not out of those it calls.

    For what steers the networks and the maths: it reads the epoch, guards the state of a model or
    asks what the host knows. The networks and the maths are whole graphs then.

    Args:
        function: Any function or method.
    """
    left_alone = torch.compiler.disable(function, recursive=False)

    # A function of its own: torch 2.10 takes the marked one out of a bound method, without `self`.
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return left_alone(*args, **kwargs)

    return wrapper


def plain_drop_path(module: nn.Module) -> None:
    """Make the rates of stochastic depth numbers of Python.

    MMPretrain (1.2.0, 1.3.6) takes them from ``numpy.linspace``. torch.compile takes a NumPy
    number for a tensor and cannot follow MMCV's ``if drop_prob == 0``.

    Args:
        module: Changed in place.
    """
    for child in module.modules():
        if isinstance(child, DropPath):
            child.drop_prob = float(child.drop_prob)
