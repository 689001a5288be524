"""The backbones that a recipe can train, by the names of ``--model``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Up to this size images get a small stem or small patches, in pixels.
SMALL_IMAGES = 48


@dataclass(frozen=True)
class Network:
    """A backbone.

    Attributes:
        channels: Width of its output.
        depth: Of a ResNet; 0 for a vision transformer.
        arch: Name of a vision transformer in MMPretrain.
    """

    channels: int
    depth: int = 0
    arch: str = ''

    @property
    def is_vit(self) -> bool:
        return bool(self.arch)

    def patch_size(self, image_size: int) -> int:
        """Pixels per side of a patch: at least 8 by 8 patches per image."""
        return 4 if image_size <= SMALL_IMAGES else 8 if image_size <= 112 else 16

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
            )
        # Its stem of stride 4 would leave one pixel of a small image.
        is_small = image_size <= SMALL_IMAGES
        return dict(
            type='ResNet_CIFAR' if is_small else 'ResNet',
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
