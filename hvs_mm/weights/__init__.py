"""Published checkpoints, and backbones for timm, torchvision and the MM* packages."""

from .pretrained_backbone import (
    BackboneLoad,
    PretrainedBackbone,
    backbone_state,
    check_checkpoint_given,
    load_backbone,
)

__all__ = [
    'BackboneLoad',
    'PretrainedBackbone',
    'backbone_state',
    'check_checkpoint_given',
    'load_backbone',
]
