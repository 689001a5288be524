"""The heart of hard view selection: pair losses, selectors, the record of the kept views."""

from ..utils.installed import HAS_MMPRETRAIN
from ..utils.precision import full_precision
from .gather import gather_views
from .groups import ViewGroups
from .pair_losses.base import PairLoss, build_pair_loss, registered_pair_losses
from .pair_losses.forward import (
    forward_momentum,
    forward_views,
    momentum_modules,
    project,
    project_and_predict,
)
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

if HAS_MMPRETRAIN:
    from .pair_losses.barlow_twins import BarlowTwinsPairLoss
    from .pair_losses.byol import BYOLPairLoss
    from .pair_losses.densecl import DenseCLPairLoss
    from .pair_losses.dinov2 import DINOv2PairLoss
    from .pair_losses.ibot import IBOTPairLoss
    from .pair_losses.moco import MoCoPairLoss
    from .pair_losses.mocov3 import MoCoV3PairLoss
    from .pair_losses.simclr import SimCLRPairLoss
    from .pair_losses.simsiam import SimSiamPairLoss
    from .pair_losses.swav import SwAVPairLoss
    from .pair_losses.vicreg import VICRegPairLoss

__all__ = [
    'COLOR_CHANGES',
    'BYOLPairLoss',
    'BarlowTwinsPairLoss',
    'DINOv2PairLoss',
    'DenseCLPairLoss',
    'EasiestSelector',
    'HardestSelector',
    'IBOTPairLoss',
    'IoUBelowSelector',
    'LargestColorDifferenceSelector',
    'LowestIoUSelector',
    'MoCoPairLoss',
    'MoCoV3PairLoss',
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
    'SwAVPairLoss',
    'VICRegPairLoss',
    'ViewGroups',
    'build_pair_loss',
    'build_selector',
    'forward_momentum',
    'forward_views',
    'full_precision',
    'gather_views',
    'image_statistics',
    'momentum_modules',
    'pair_geometry',
    'pair_ious',
    'project',
    'project_and_predict',
    'registered_pair_losses',
]
