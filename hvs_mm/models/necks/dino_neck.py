"""Projection heads of DINO and iBOT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose weight is ``g * v / |v|`` per output unit.

    torch's ``weight_norm`` keeps the product as an attribute, which cannot be deep-copied.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        fixed_norm: Keep ``g`` at one, so that every prototype has unit length.
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


@contextmanager
def running_statistics(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalize with its running statistics, and leave these alone, meanwhile.

    For a batch too small to have statistics of its own. SyncBN on several processes, which must
    all take part, goes on with the statistics of their batches together.

    Args:
        module: Any module.
    """
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm)
        and m.training
        and not (isinstance(m, SyncBatchNorm) and get_world_size() > 1)
    ]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


@MODELS.register_module()
class DINONeck(BaseModule):
    """Projection of DINO: an MLP, a normalized bottleneck, weight-normalized prototypes.

    Source: section 3.1 and appendix C of `arXiv 2104.14294 <https://arxiv.org/abs/2104.14294>`_.
    Parameters have the names of the published code (``mlp.0.weight``, ``last_layer.weight_v``).

    Args:
        in_channels: Width of the backbone's output.
        out_channels: Number of prototypes ``K``. Defaults to 65536.
        hidden_channels: Width of the hidden layers. Defaults to 2048.
        bottleneck_channels: Width of the bottleneck. Defaults to 256.
        num_layers: Linear layers of the MLP, the one to the bottleneck included. Defaults to 3.
        use_bn: BatchNorm after the hidden layers. Defaults to ``False``.
        fixed_norm: Keep the prototypes at unit length. Defaults to ``True``.
        init_cfg: As for ``BaseModule``.

    Raises:
        ValueError: If ``num_layers`` is below 1.
    """

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
        if num_layers < 1:
            raise ValueError(f'num_layers={num_layers} must be at least 1.')
        layers: list[nn.Module] = []
        width = in_channels
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(width, hidden_channels))
            if use_bn:
                layers.append(nn.BatchNorm1d(hidden_channels))
            layers.append(nn.GELU())
            width = hidden_channels
        layers.append(nn.Linear(width, bottleneck_channels))
        self.mlp = nn.Sequential(*layers)
        self.last_layer = WeightNormLinear(bottleneck_channels, out_channels, fixed_norm)
        for module in self.mlp.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def project(self, x: Tensor) -> Tensor:
        """Map features (N, in_channels) to the unit sphere, (N, bottleneck_channels)."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor]:
        """Map the backbone's output, as :meth:`pool` takes it, to logits.

        Returns:
            A tuple with the logits (B, out_channels).
        """
        return (self.logits(self.pool(x)),)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, in_channels) to logits (N, out_channels)."""
        return self.last_layer(self.project(features))

    def pool(self, x: Sequence[Tensor]) -> Tensor:
        """The features of the backbone's output that go through the MLP.

        Args:
            x: Feature maps (B, C, H, W), which are averaged, or features (B, C); the last one is
                used.

        Returns:
            (B, C)
        """
        return x[-1].mean((2, 3)) if x[-1].ndim == 4 else x[-1]


@MODELS.register_module()
class IBOTNeck(DINONeck):
    """Projection of iBOT: one MLP for all tokens, prototypes shared or of two kinds.

    Source: section 3.2 of `arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_.

    Args:
        in_channels: Width of the backbone's tokens.
        out_channels: Number of prototypes of the [CLS] token. Defaults to 8192.
        patch_out_channels: Number of prototypes of the patch tokens. Defaults to
            ``out_channels``.
        shared_head: Use the same prototypes for both. Defaults to ``True``.
        **kwargs: As for :class:`DINONeck`.

    Raises:
        ValueError: If the prototypes are shared, but not equal in number.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 8192,
        patch_out_channels: int | None = None,
        shared_head: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        patch_out_channels = out_channels if patch_out_channels is None else patch_out_channels
        if shared_head and patch_out_channels != out_channels:
            raise ValueError(
                f'patch_out_channels={patch_out_channels} differs from out_channels='
                f'{out_channels}, but shared_head=True uses the same prototypes for both: make '
                'them equal, or set shared_head=False.'
            )
        self.shared_head = shared_head
        if not shared_head:
            self.last_layer2 = WeightNormLinear(
                self.last_layer.weight_v.shape[1],
                patch_out_channels,
                fixed_norm=not self.last_layer.weight_g.requires_grad,
            )

    def pool(self, x: Sequence[Tensor]) -> Tensor:
        """The [CLS] token.

        Args:
            x: Tokens (B, 1 + N, C), the [CLS] token first; the last one is used.

        Returns:
            (B, C)
        """
        return x[-1][:, 0]

    @property
    def has_batch_norm(self) -> bool:
        """Whether the logits of a token depend on the others of a batch."""
        return any(isinstance(m, _BatchNorm) and m.training for m in self.mlp.modules())

    def patch_logits(self, tokens: Tensor) -> Tensor:
        """Map patch tokens (M, C) to logits (M, patch_out_channels).

        BatchNorm normalizes less than two of them by its running statistics.
        """
        prototypes = self.last_layer if self.shared_head else self.last_layer2
        if len(tokens) > 1:
            return prototypes(self.project(tokens))
        with running_statistics(self.mlp):
            return prototypes(self.project(tokens))
