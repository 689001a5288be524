"""The heart of hard view selection: pair losses, selectors, the record of the kept views."""

from .groups import ViewGroups
from .pair_losses.base import PairLoss, build_pair_loss, forward_views, registered_pair_losses
from .pair_losses.byol import BYOLPairLoss
from .pair_losses.ibot import IBOTPairLoss
from .pair_losses.simclr import SimCLRPairLoss
from .pair_losses.simsiam import SimSiamPairLoss
from .record import Selection
from .scores import ScoreWeights
from .selectors import (
    EasiestSelector,
    HardestSelector,
    IoUBelowSelector,
    LargestColorDifferenceSelector,
    LowestIoUSelector,
    PerGroupSelector,
    QuantileSelector,
    RandomSelector,
    ScoreSelector,
    Selector,
    SoftenedSelector,
    build_selector,
)
from .statistics.choice import image_statistics
from .statistics.color import COLOR_CHANGES
from .statistics.geometry import pair_geometry, pair_ious

__all__ = [
    'COLOR_CHANGES',
    'BYOLPairLoss',
    'EasiestSelector',
    'HardestSelector',
    'IBOTPairLoss',
    'IoUBelowSelector',
    'LargestColorDifferenceSelector',
    'LowestIoUSelector',
    'PairLoss',
    'PerGroupSelector',
    'QuantileSelector',
    'RandomSelector',
    'ScoreSelector',
    'ScoreWeights',
    'Selection',
    'Selector',
    'SimCLRPairLoss',
    'SimSiamPairLoss',
    'SoftenedSelector',
    'ViewGroups',
    'build_pair_loss',
    'build_selector',
    'forward_views',
    'image_statistics',
    'pair_geometry',
    'pair_ious',
    'registered_pair_losses',
]
