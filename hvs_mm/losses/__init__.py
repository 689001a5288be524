"""The maths of pair losses: pure functions of tensors, a file a method."""

from .barlow_twins import barlow_twins_pair_loss
from .byol import byol_pair_loss
from .callables import BYOL, DINO, NTXent, SimSiam
from .densecl import dense_pair_loss
from .dino import dino_pair_loss, mean_of_cross_terms
from .dinov2 import dinov2_pair_loss
from .ibot import IBOTOutputs, masked_patch_loss, with_diagonal
from .koleo import koleo_loss
from .moco import moco_pair_loss, mocov3_pair_loss
from .ntxent import ntxent_pair_loss
from .simsiam import simsiam_pair_loss
from .sinkhorn import sinkhorn
from .swav import swav_pair_loss
from .vicreg import vicreg_loss, vicreg_pair_loss

__all__ = [
    'BYOL',
    'DINO',
    'IBOTOutputs',
    'NTXent',
    'SimSiam',
    'barlow_twins_pair_loss',
    'byol_pair_loss',
    'dense_pair_loss',
    'dino_pair_loss',
    'dinov2_pair_loss',
    'koleo_loss',
    'masked_patch_loss',
    'mean_of_cross_terms',
    'moco_pair_loss',
    'mocov3_pair_loss',
    'ntxent_pair_loss',
    'simsiam_pair_loss',
    'sinkhorn',
    'swav_pair_loss',
    'vicreg_loss',
    'vicreg_pair_loss',
    'with_diagonal',
]
