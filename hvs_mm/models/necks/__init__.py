from .dino_neck import DINONeck, IBOTNeck

__all__ = ['DINONeck', 'IBOTNeck']
