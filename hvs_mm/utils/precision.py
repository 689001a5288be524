"""Keep the maths of pair losses out of autocast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec('P')
R = TypeVar('R')


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside of autocast on the device of its first argument, a tensor.

    Autocast would compute matrix products of float32 tensors in half precision, and undo the
    conversion that precedes them.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0] if args else next(iter(kwargs.values()))
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return wrapper
