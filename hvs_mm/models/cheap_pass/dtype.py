"""Run backbones in lower precision than what follows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def backbones_in(algorithm: nn.Module, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Run the backbones of an algorithm, also a teacher's, under autocast.

    Their outputs are float32 again. Projectors and prototypes keep their precision: they take a
    small part of the time, and a teacher's temperature of 0.04 multiplies their errors by 25.
    """
    kind = type(algorithm.backbone)
    with ExitStack() as stack:
        entered: list[Any] = []

        # The compiler cannot follow what begins in one hook and ends in another.
        @torch.compiler.disable
        def enter(module: nn.Module, args: Any) -> None:
            entered.append(torch.autocast(device.type, dtype))
            entered[-1].__enter__()

        @torch.compiler.disable
        def leave(module: nn.Module, args: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            entered.pop().__exit__(None, None, None)
            return tuple(part.float() for part in output)

        for module in algorithm.modules():
            if type(module) is kind:
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(leave).remove)
        try:
            yield
        finally:
            # Not empty only if a backbone has raised.
            while entered:
                entered.pop().__exit__(None, None, None)
