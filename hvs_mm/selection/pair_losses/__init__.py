from .base import PairLoss, build_pair_loss, forward_views, registered_pair_losses
from .byol import BYOLPairLoss, byol_pair_loss
from .simclr import SimCLRPairLoss, ntxent_pair_loss
from .simsiam import SimSiamPairLoss, simsiam_pair_loss

__all__ = [
    'BYOLPairLoss',
    'PairLoss',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'build_pair_loss',
    'byol_pair_loss',
    'forward_views',
    'ntxent_pair_loss',
    'registered_pair_losses',
    'simsiam_pair_loss',
]
