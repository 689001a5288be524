"""The model below what wraps it for several processes."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model itself where ``DistributedDataParallel`` or the like wraps it.

    Args:
        model: ``runner.model``, or any module.
    """
    return model.module if is_model_wrapper(model) else model
