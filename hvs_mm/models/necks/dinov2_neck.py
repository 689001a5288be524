"""The projection of DINOv2."""

from __future__ import annotations

from typing import Any, ClassVar

from mmpretrain.registry import MODELS
from torch import nn

from .dino_neck import build_mlp
from .ibot_neck import IBOTNeck


@MODELS.register_module()
class DINOv2Neck(IBOTNeck):
    """Projection of DINOv2: a head for the [CLS] token and one of the same shape for patches.

    Source: section 4 of `arXiv 2304.07193 <https://arxiv.org/abs/2304.07193>`_, "untying head
    weights between both objectives". Each head has its own MLP and prototypes, those of patches in
    ``mlp2`` and ``last_layer2``; iBOT's heads share the MLP.

    Args:
        in_channels: Width of the backbone's tokens.
        out_channels: Number of prototypes of the [CLS] token.
        patch_out_channels: Number of prototypes of the patch tokens; by default ``out_channels``.
        shared_head: Use one head for both, as the published short recipe does.
        hidden_channels, bottleneck_channels, num_layers, use_bn, fixed_norm, **kwargs: Of each
            head, as for :class:`DINONeck`.

    Raises:
        ValueError: If the head is shared, but the prototypes are not equal in number.
    """

    algorithm: ClassVar[str] = 'DINOv2'

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 65536,
        patch_out_channels: int | None = None,
        shared_head: bool = False,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        num_layers: int = 3,
        use_bn: bool = False,
        fixed_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        shape: dict[str, Any] = dict(
            hidden_channels=hidden_channels, num_layers=num_layers, use_bn=use_bn
        )
        super().__init__(
            in_channels,
            out_channels,
            patch_out_channels,
            shared_head,
            bottleneck_channels=bottleneck_channels,
            fixed_norm=fixed_norm,
            **shape,
            **kwargs,
        )
        if not shared_head:
            self.mlp2 = build_mlp(in_channels, out_channels=bottleneck_channels, **shape)

    @property
    def patch_mlp(self) -> nn.Module:
        return self.mlp if self.shared_head else self.mlp2
