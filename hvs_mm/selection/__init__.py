"""The heart of hard view selection: pair losses, selectors, the record of the kept views."""

from .geometry import pair_ious
from .groups import ViewGroups
from .pair_losses import (
    BYOLPairLoss,
    DINOPairLoss,
    IBOTPairLoss,
    PairLoss,
    SimCLRPairLoss,
    SimSiamPairLoss,
    build_pair_loss,
    byol_pair_loss,
    dino_pair_loss,
    forward_views,
    masked_patch_loss,
    mean_of_cross_terms,
    ntxent_pair_loss,
    registered_pair_losses,
    simsiam_pair_loss,
    with_diagonal,
)
from .precision import full_precision
from .record import Selection
from .scores import ScoreWeights
from .selectors import (
    EasiestSelector,
    HardestSelector,
    RandomSelector,
    Selector,
    build_selector,
    combination_scores,
)

__all__ = [
    'BYOLPairLoss',
    'DINOPairLoss',
    'EasiestSelector',
    'HardestSelector',
    'IBOTPairLoss',
    'PairLoss',
    'RandomSelector',
    'ScoreWeights',
    'Selection',
    'Selector',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'ViewGroups',
    'build_pair_loss',
    'build_selector',
    'byol_pair_loss',
    'combination_scores',
    'dino_pair_loss',
    'forward_views',
    'full_precision',
    'masked_patch_loss',
    'mean_of_cross_terms',
    'ntxent_pair_loss',
    'pair_ious',
    'registered_pair_losses',
    'simsiam_pair_loss',
    'with_diagonal',
]
