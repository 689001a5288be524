"""Hard View Selection for MMPretrain. Importing the package registers what configs name."""

from . import datasets, engine, evaluation, models, selection, visualization
from .apis import get_config
from .version import __version__

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'get_config',
    'models',
    'selection',
    'visualization',
]
