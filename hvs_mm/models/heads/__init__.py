from .dino_head import DINOHead
from .ibot_head import IBOTHead

__all__ = ['DINOHead', 'IBOTHead']
