"""Thin adapters: how the candidates go through each method, and which loss is formed of them."""

from .base import PairLoss, build_pair_loss, forward_views, registered_pair_losses
from .byol import BYOLPairLoss
from .dino import DINOPairLoss
from .ibot import IBOTPairLoss
from .simclr import SimCLRPairLoss
from .simsiam import SimSiamPairLoss

__all__ = [
    'BYOLPairLoss',
    'DINOPairLoss',
    'IBOTPairLoss',
    'PairLoss',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'build_pair_loss',
    'forward_views',
    'registered_pair_losses',
]
