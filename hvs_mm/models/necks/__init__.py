from .dino_neck import DINONeck, IBOTNeck
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['DINONeck', 'IBOTNeck', 'SimpleFeaturePyramid']
