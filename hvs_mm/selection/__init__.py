"""The heart of hard view selection: pair losses, selectors, the record of the kept views."""

from .color import COLOR_CHANGES, ViewColors, color_deviation, color_strength
from .geometry import PairGeometry, pair_geometry, pair_ious
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
from .record import Selection, join_selections
from .scores import ScoreWeights
from .selectors import (
    EasiestSelector,
    HardestSelector,
    RandomSelector,
    Selector,
    build_selector,
    combination_scores,
)
from .statistics import (
    Comparison,
    choice_entropy,
    compare_choice,
    image_statistics,
    mean_over_pairs,
    mean_over_views,
    pairs_within,
)

__all__ = [
    'COLOR_CHANGES',
    'BYOLPairLoss',
    'Comparison',
    'DINOPairLoss',
    'EasiestSelector',
    'HardestSelector',
    'IBOTPairLoss',
    'PairGeometry',
    'PairLoss',
    'RandomSelector',
    'ScoreWeights',
    'Selection',
    'Selector',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'ViewColors',
    'ViewGroups',
    'build_pair_loss',
    'build_selector',
    'byol_pair_loss',
    'choice_entropy',
    'color_deviation',
    'color_strength',
    'combination_scores',
    'compare_choice',
    'dino_pair_loss',
    'forward_views',
    'full_precision',
    'image_statistics',
    'join_selections',
    'masked_patch_loss',
    'mean_of_cross_terms',
    'mean_over_pairs',
    'mean_over_views',
    'ntxent_pair_loss',
    'pair_geometry',
    'pair_ious',
    'pairs_within',
    'registered_pair_losses',
    'simsiam_pair_loss',
    'with_diagonal',
]
