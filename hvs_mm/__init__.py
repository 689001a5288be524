"""Hard View Selection for MMPretrain. Importing the package registers what configs name."""

from .utils.console import hold_back_noise

with hold_back_noise():
    from . import datasets, engine, evaluation, losses, models, selection, visualization, weights
    from .apis import get_config
    from .datasets import CandidateViews
    from .hardening import hard_views, harden
    from .models import HVSAlgorithm
    from .runs import Embedding, Evaluation, Exported, embed, evaluate, export, train
    from .selection import PairLoss, Selection, Selector
    from .version import __version__

__all__ = [
    'CandidateViews',
    'Embedding',
    'Evaluation',
    'Exported',
    'HVSAlgorithm',
    'PairLoss',
    'Selection',
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
    'losses',
    'models',
    'selection',
    'train',
    'visualization',
    'weights',
]
