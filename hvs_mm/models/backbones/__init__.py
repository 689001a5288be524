from .last_layers_vit import LastLayersVisionTransformer
from .masked_vit import MaskedVisionTransformer
from .vit_init import ViTTruncNormal

__all__ = ['LastLayersVisionTransformer', 'MaskedVisionTransformer', 'ViTTruncNormal']
