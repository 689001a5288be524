"""A feature pyramid for backbones that give one resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Make a pyramid out of the last feature map of a plain vision transformer.

    Source: ViTDet (`arXiv 2203.16527 <https://arxiv.org/abs/2203.16527>`_, section 3). From the
    map of stride 16 come strides 4 (two transposed convolutions), 8 (one), 16 and 32 (max
    pooling), each followed by a 1 x 1 and a 3 x 3 convolution with LayerNorm. Further levels
    subsample the last one by 2, as the FPN of MMDetection does.

    Args:
        in_channels: Channels of the feature map.
        out_channels: Channels of every level.
        num_outs: Number of levels, at least 4.
        init_cfg: As for ``BaseModule``; ``None`` keeps PyTorch's initialization.

    Raises:
        ValueError: If there are fewer than 4 levels, or the channels cannot be divided by 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        init_cfg: list[dict] | dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_outs < 4:
            raise ValueError(f'num_outs={num_outs} must be 4 (strides 4 to 32) or more.')
        if in_channels < 4 or in_channels % 4:
            raise ValueError(
                f'in_channels={in_channels} must be a multiple of 4: the finest level has a '
                'quarter of them before its projection.'
            )
        self.num_extra = num_outs - 4
        half, quarter = in_channels // 2, in_channels // 4
        by_four = nn.Sequential(
            nn.ConvTranspose2d(in_channels, half, 2, stride=2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
        )
        by_two = nn.ConvTranspose2d(in_channels, half, 2, stride=2)
        self.scales = nn.ModuleList([by_four, by_two, nn.Identity(), nn.MaxPool2d(2, stride=2)])
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for channels in (quarter, half, in_channels, in_channels)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make ``num_outs`` maps (B, out_channels, .., ..) of strides 4, 8, 16, 32, 64 and so on.

        The last of the ``inputs`` is taken, a map (B, C, h, w) of stride 16.
        """
        x = inputs[-1]
        levels = [project(scale(x)) for scale, project in zip(self.scales, self.projections)]
        for _ in range(self.num_extra):
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return tuple(levels)
