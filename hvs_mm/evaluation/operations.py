"""Floating-point operations of matrix products, convolutions and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)


def operation_counter() -> FlopCounterMode:
    """A context that counts operations, attention on the CPU included."""
    aten = torch.ops.aten
    # torch (2.5, 2.10) has no formula for the kernels of attention on the CPU.
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=attention)


def count_operations(work: Callable[[], object]) -> int:
    """Call a function and count its operations."""
    with operation_counter() as counter:
        work()
    return counter.get_total_flops()


def _attention(
    query: torch.Size, key: torch.Size, value: torch.Size, *args: Any, **kwargs: Any
) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: torch.Size, *shapes: Any, **kwargs: Any) -> int:
    return sdpa_backward_flop_count(gradient, *shapes[:3])
