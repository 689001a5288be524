"""Hard View Selection for MMPretrain and plain torch.

Importing the package registers what configs name. Without MMPretrain it has what plain torch can
use: ``HardViews``, ``CandidateTransform``, ``SelectionLog``, losses and selectors.
"""

from typing import Any

from .utils.installed import HAS_MMPRETRAIN

if HAS_MMPRETRAIN:
    from .utils.console import hold_back_noise
    from .utils.torchvision_ops import provide_operators

    provide_operators()
    with hold_back_noise():
        from . import datasets, engine, evaluation, models, weights
        from .apis import get_config, high_resolution
        from .datasets import CandidateViews
        from .hardening import hard_views, harden
        from .models import HVSAlgorithm
        from .runs import Embedding, Evaluation, Exported, embed, evaluate, export, train

from . import losses, selection, visualization
from .plain import CandidateTransform, HardViews, SelectionLog
from .selection import PairLoss, Selection, Selector
from .version import __version__

__all__ = [
    'CandidateTransform',
    'CandidateViews',
    'Embedding',
    'Evaluation',
    'Exported',
    'HVSAlgorithm',
    'HardViews',
    'PairLoss',
    'Selection',
    'SelectionLog',
    'Selector',
    '__version__',
    'datasets',
    'embed',
    'engine',
    'evaluate',
    'evaluation',
    'export',
    'get_config',
    'hard_views',
    'harden',
    'high_resolution',
    'losses',
    'models',
    'selection',
    'train',
    'visualization',
    'weights',
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        raise ImportError(
            f'hvs_mm.{name} needs MMPretrain, MMEngine and MMCV, which are not all installed: '
            'pip install "hvs-mm[onedl]".'
        )
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
