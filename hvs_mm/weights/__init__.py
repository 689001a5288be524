"""Published checkpoints, and backbones for timm, torchvision and the MM* packages."""

from .backbone_weights import BackboneLoad, backbone_state, load_backbone
from .pretrained_backbone import PretrainedBackbone, check_checkpoint_given

__all__ = [
    'BackboneLoad',
    'PretrainedBackbone',
    'backbone_state',
    'check_checkpoint_given',
    'load_backbone',
]
