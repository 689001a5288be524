"""The maths of pair losses: pure functions of tensors, a file a method."""

from .byol import byol_pair_loss
from .dino import dino_pair_loss, mean_of_cross_terms
from .ibot import IBOTOutputs, masked_patch_loss, with_diagonal
from .ntxent import ntxent_pair_loss
from .simsiam import simsiam_pair_loss

__all__ = [
    'IBOTOutputs',
    'byol_pair_loss',
    'dino_pair_loss',
    'masked_patch_loss',
    'mean_of_cross_terms',
    'ntxent_pair_loss',
    'simsiam_pair_loss',
    'with_diagonal',
]
