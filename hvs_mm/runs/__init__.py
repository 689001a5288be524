"""What a user does with a run: train it, evaluate it, take features and backbones out of it."""

from .accuracy import Evaluation, evaluate
from .embedding import Embedding, embed
from .exporting import Exported, export
from .training import RunError, train

__all__ = [
    'Embedding',
    'Evaluation',
    'Exported',
    'RunError',
    'embed',
    'evaluate',
    'export',
    'train',
]
