"""The loss of VICReg as a head."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from ...losses.vicreg import vicreg_loss
from ...utils.arguments import is_number


@MODELS.register_module()
class VICRegHead(BaseModule):
    """Variance, invariance and covariance over the samples of all processes.

    Args:
        invariance, variance, covariance: Weights of the terms; the defaults are the paper's.

    Raises:
        ValueError: If a weight is negative or no number.
    """

    def __init__(
        self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
    ) -> None:
        super().__init__()
        self.weights = dict(invariance=invariance, variance=variance, covariance=covariance)
        for name, weight in self.weights.items():
            if not is_number(weight) or weight < 0:
                raise ValueError(f'head.{name}={weight!r} must be a number of at least 0.')

    def loss(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of the embeddings (B, D) of two views, B the same in all processes."""
        if get_world_size() > 1:
            # Gradients of all processes come back, so their mean is that of the joint batch.
            input, target = (torch.cat(all_gather(one)) for one in (input, target))
        return vicreg_loss(input, target, **self.weights)
