"""Random numbers that nobody else notices."""

# The transforms of MMCV and MMPretrain draw from the legacy generator.
# ruff: noqa: NPY002
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Seed numpy, random and torch (on the CPU), and put their generators back afterwards.

    The transforms of MMCV and MMPretrain draw from all three.

    Args:
        seed: Of the numbers drawn meanwhile.
    """
    states = np.random.get_state(), random.getstate(), torch.get_rng_state()
    np.random.seed(seed)
    random.seed(seed)
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
        torch.set_rng_state(states[2])
