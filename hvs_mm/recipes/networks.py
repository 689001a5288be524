"""The backbones that a recipe can train, by the names of ``--model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Up to this size images get a small stem or small patches, in pixels.
SMALL_IMAGES = 48


@dataclass(frozen=True)
class Network:
    """A backbone.

    Attributes:
        channels: Width of its output.
        depth: Of a ResNet; 0 for a vision transformer.
        arch: Name of a vision transformer in MMPretrain, or its sizes.
        patch: Pixels per side of a patch; 0 for what fits the images.
        small_stem: Whether a ResNet has the stem for small images; None for what fits the images.
        settings: Further settings of a vision transformer.
        adapted: How the weights of a file are fit to the channels of the images, for the user.
    """

    channels: int
    depth: int = 0
    arch: str | Mapping[str, int] = ''
    patch: int = 0
    small_stem: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    adapted: str = ''

    @property
    def is_vit(self) -> bool:
        return bool(self.arch)

    def patch_size(self, image_size: int) -> int:
        """Pixels per side of a patch: at least 8 by 8 patches per image."""
        if self.patch:
            return self.patch
        return 4 if image_size <= SMALL_IMAGES else 8 if image_size <= 112 else 16

    def has_small_stem(self, image_size: int) -> bool:
        """Whether a ResNet has a stem of stride 1: one of stride 4 leaves a pixel of 32."""
        return image_size <= SMALL_IMAGES if self.small_stem is None else self.small_stem

    def config(self, image_size: int, sync_bn: bool) -> dict[str, Any]:
        """The config of the backbone for square images."""
        if self.is_vit:
            return dict(
                type='VisionTransformer',
                arch=self.arch,
                img_size=image_size,
                patch_size=self.patch_size(image_size),
                drop_path_rate=0.1,
                out_type='cls_token',
                init_cfg=dict(type='ViTTruncNormal'),
            ) | dict(self.settings)
        return dict(
            type='ResNet_CIFAR' if self.has_small_stem(image_size) else 'ResNet',
            depth=self.depth,
            norm_cfg=dict(type='SyncBN' if sync_bn else 'BN'),
            zero_init_residual=True,
        )


NETWORKS = {
    'resnet18': Network(512, depth=18),
    'resnet50': Network(2048, depth=50),
    'vit-tiny': Network(192, arch='deit-tiny'),
    'vit-small': Network(384, arch='deit-small'),
    'vit-base': Network(768, arch='deit-base'),
}
