"""Mixed precision where upstream's ``AmpOptimWrapper`` does not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from mmpretrain.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward in bfloat16, on any device and without a loss scaler.

    MMEngine's ``AmpOptimWrapper`` (0.10.7 and 0.10.12) cannot be built without a GPU because of its
    ``GradScaler``, although its autocast supports the CPU. bfloat16 has the exponent range of
    float32 and needs no scaling. ``tools/train.py --amp`` uses this class on the CPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
