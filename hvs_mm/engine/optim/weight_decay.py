"""A weight decay that follows a cosine over the run."""

from __future__ import annotations

from typing import Any

from mmengine.optim import CosineAnnealingParamScheduler
from mmpretrain.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class CosineWeightDecay(CosineAnnealingParamScheduler):
    """Cosine schedule of the weight decay of those parameter groups that have any.

    MMEngine's schedulers set the value of every group, and would also decay biases and norms whose
    group has ``weight_decay=0``. This one leaves such groups alone. ``eta_min`` is the value at the
    end, which may be the larger one.
    """

    def __init__(self, optimizer: Any, **kwargs: Any) -> None:
        kwargs.pop('param_name', None)
        super().__init__(optimizer, param_name='weight_decay', **kwargs)

    def _get_value(self) -> list[float]:
        return [
            value if base else 0.0 for value, base in zip(super()._get_value(), self.base_values)
        ]
