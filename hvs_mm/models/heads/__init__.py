from .dino_head import DINOHead, check_warmup_epochs
from .ibot_head import IBOTHead

__all__ = ['DINOHead', 'IBOTHead', 'check_warmup_epochs']
