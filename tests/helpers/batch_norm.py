"""BatchNorm over the samples of all processes, on the CPU: torch's SyncBN needs a GPU."""

from __future__ import annotations

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


@MODELS.register_module()
class CrossRankBN(_BatchNorm):
    """Sums its statistics over processes, whose batches must have the same size."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        dims = [0, *range(2, x.dim())]
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        # The gradient of a sum over processes is the sum of theirs.
        sums = all_reduce(torch.stack([x.sum(dims), x.square().sum(dims)]))
        mean, square = sums / count
        variance = square - mean.square()
        if self.track_running_stats:
            self.num_batches_tracked += 1
            for running, new in (
                (self.running_mean, mean),
                (self.running_var, variance * count / (count - 1)),
            ):
                running.lerp_(new.detach(), self.momentum)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
