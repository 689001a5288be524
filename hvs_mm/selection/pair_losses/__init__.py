from .base import PairLoss, build_pair_loss, forward_views, registered_pair_losses
from .byol import BYOLPairLoss, byol_pair_loss
from .cosine import cosine_similarities
from .dino import DINOPairLoss, dino_pair_loss, mean_of_cross_terms
from .ibot import IBOTPairLoss, MaskedPatches, find_masked, masked_patch_loss, with_diagonal
from .simclr import SimCLRPairLoss, ntxent_pair_loss
from .simsiam import SimSiamPairLoss, simsiam_pair_loss

__all__ = [
    'BYOLPairLoss',
    'DINOPairLoss',
    'IBOTPairLoss',
    'MaskedPatches',
    'PairLoss',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'build_pair_loss',
    'byol_pair_loss',
    'cosine_similarities',
    'dino_pair_loss',
    'find_masked',
    'forward_views',
    'masked_patch_loss',
    'mean_of_cross_terms',
    'ntxent_pair_loss',
    'registered_pair_losses',
    'simsiam_pair_loss',
    'with_diagonal',
]
