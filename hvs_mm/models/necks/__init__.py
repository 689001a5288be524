from .dino_neck import DINONeck
from .ibot_neck import IBOTNeck
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['DINONeck', 'IBOTNeck', 'SimpleFeaturePyramid']
