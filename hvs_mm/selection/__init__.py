"""The heart of hard view selection: pair losses, selectors, the record of the kept views."""

from .groups import ViewGroups
from .pair_losses.base import PairLoss, build_pair_loss, forward_views, registered_pair_losses
from .pair_losses.byol import BYOLPairLoss
from .pair_losses.dino import DINOPairLoss
from .pair_losses.ibot import IBOTPairLoss
from .pair_losses.simclr import SimCLRPairLoss
from .pair_losses.simsiam import SimSiamPairLoss
from .record import Selection, join_selections
from .scores import ScoreWeights
from .selectors import (
    EasiestSelector,
    HardestSelector,
    RandomSelector,
    Selector,
    build_selector,
    combination_scores,
    kept_scores,
)
from .statistics.agreement import Agreement, agreement_with
from .statistics.choice import (
    Comparison,
    choice_entropy,
    compare_choice,
    image_statistics,
    mean_over_pairs,
    mean_over_views,
    pairs_within,
)
from .statistics.color import COLOR_CHANGES, ViewColors, color_deviation, color_strength
from .statistics.geometry import PairGeometry, pair_geometry, pair_ious

__all__ = [
    'COLOR_CHANGES',
    'Agreement',
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
    'agreement_with',
    'build_pair_loss',
    'build_selector',
    'choice_entropy',
    'color_deviation',
    'color_strength',
    'combination_scores',
    'compare_choice',
    'forward_views',
    'image_statistics',
    'join_selections',
    'kept_scores',
    'mean_over_pairs',
    'mean_over_views',
    'pair_geometry',
    'pair_ious',
    'pairs_within',
    'registered_pair_losses',
]
