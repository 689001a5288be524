"""From a folder of images to the config of a run: what a user would otherwise have to decide."""

from .config import recipe_config
from .images import ImageSource, find_images
from .networks import NETWORKS
from .recipe import METHODS, Recipe, choose_recipe

__all__ = [
    'METHODS',
    'NETWORKS',
    'ImageSource',
    'Recipe',
    'choose_recipe',
    'find_images',
    'recipe_config',
]
