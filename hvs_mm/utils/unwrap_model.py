"""The model inside its wrapper for several processes."""

from __future__ import annotations

from mmengine.model import BaseModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> BaseModel:
    """Return the model inside ``DistributedDataParallel`` or the like, or the model itself."""
    return model.module if is_model_wrapper(model) else model
