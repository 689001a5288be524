"""Hard View Selection for MMPretrain. Importing the package registers what configs name."""

from . import datasets, engine, models, selection
from .apis import get_config
from .version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'get_config', 'models', 'selection']
