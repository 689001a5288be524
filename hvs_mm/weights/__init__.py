"""Published checkpoints, and backbones for timm, torchvision and the MM* packages."""

from .pretrained_backbone import PretrainedBackbone, backbone_state, load_backbone

__all__ = ['PretrainedBackbone', 'backbone_state', 'load_backbone']
