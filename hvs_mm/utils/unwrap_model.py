"""The model inside its wrapper for several processes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mmengine.model import BaseModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> BaseModel:
    """Return the model inside ``DistributedDataParallel`` or the like, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def whole_weights(model: nn.Module) -> AbstractContextManager[None]:
    """Hold all weights of a sharded model, whose parts may then be called; see ``FullyShard``."""
    hold: Any = getattr(model, 'whole_weights', nullcontext)
    return hold()
