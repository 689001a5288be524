"""The projection of DINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ...utils.arguments import check_whole


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose weight is ``g * v / |v|`` per output unit.

    torch's ``weight_norm`` keeps the product as an attribute, which cannot be deep-copied. With
    ``fixed_norm`` ``g`` stays at one, so that every prototype has unit length.
    """

    def __init__(self, in_features: int, out_features: int, fixed_norm: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_features, 1), requires_grad=not fixed_norm)
        self.weight_v = nn.Parameter(torch.empty(out_features, in_features))
        # As nn.Linear does by default; the length of a row does not matter.
        nn.init.kaiming_uniform_(self.weight_v, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1))


def build_mlp(
    in_channels: int, hidden_channels: int, out_channels: int, num_layers: int, use_bn: bool
) -> nn.Sequential:
    """The MLP of a projection, see :class:`DINONeck`."""
    layers: list[nn.Module] = []
    width = in_channels
    for _ in range(check_whole('num_layers', num_layers) - 1):
        norm = [nn.BatchNorm1d(hidden_channels)] if use_bn else []
        layers += [nn.Linear(width, hidden_channels), *norm, nn.GELU()]
        width = hidden_channels
    layers.append(nn.Linear(width, out_channels))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


@MODELS.register_module()
class DINONeck(BaseModule):
    """Projection of DINO: an MLP, a normalized bottleneck, weight-normalized prototypes.

    Source: section 3.1 and appendix C of `arXiv 2104.14294 <https://arxiv.org/abs/2104.14294>`_.
    Parameters have the names of the published code (``mlp.0.weight``, ``last_layer.weight_v``).

    Args:
        in_channels: Width of the backbone's output.
        out_channels: Number of prototypes ``K``.
        hidden_channels: Width of the hidden layers.
        bottleneck_channels: Width of the bottleneck.
        num_layers: Linear layers of the MLP, the one to the bottleneck included.
        use_bn: BatchNorm after the hidden layers.
        fixed_norm: Keep the prototypes at unit length.
        init_cfg: As for ``BaseModule``.

    Raises:
        ValueError: If ``num_layers`` is below 1.
    """

    #: The algorithm it is for.
    algorithm: ClassVar[str] = 'DINO'

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 65536,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        num_layers: int = 3,
        use_bn: bool = False,
        fixed_norm: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        widths = in_channels, hidden_channels, bottleneck_channels
        self.mlp = build_mlp(*widths, num_layers, use_bn)
        self.last_layer = WeightNormLinear(bottleneck_channels, out_channels, fixed_norm)

    def project(self, x: Tensor) -> Tensor:
        """Map features (N, in_channels) to the unit sphere, (N, bottleneck_channels)."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor]:
        """Map the backbone's output, as :meth:`pool` takes it, to logits ((B, out_channels),)."""
        return (self.logits(self.pool(x)),)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, in_channels) to logits (N, out_channels)."""
        return self.last_layer(self.project(features))

    def pool(self, x: Sequence[Tensor]) -> Tensor:
        """The last features (B, C) of the backbone's output, or the means of maps (B, C, H, W)."""
        return x[-1].mean((2, 3)) if x[-1].ndim == 4 else x[-1]
