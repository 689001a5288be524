from .backbones import MaskedVisionTransformer
from .checks import ViewsError, check_batch_size
from .heads import DINOHead, IBOTHead, check_warmup_epochs
from .hvs_algorithm import HVSAlgorithm
from .necks import DINONeck, IBOTNeck
from .selfsup import DINO, IBOT
from .state import preserve_state

__all__ = [
    'DINO',
    'IBOT',
    'DINOHead',
    'DINONeck',
    'HVSAlgorithm',
    'IBOTHead',
    'IBOTNeck',
    'MaskedVisionTransformer',
    'ViewsError',
    'check_batch_size',
    'check_warmup_epochs',
    'preserve_state',
]
