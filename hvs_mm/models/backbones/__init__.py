from .last_layers_vit import LastLayersVisionTransformer
from .masked_vit import MaskedVisionTransformer

__all__ = ['LastLayersVisionTransformer', 'MaskedVisionTransformer']
