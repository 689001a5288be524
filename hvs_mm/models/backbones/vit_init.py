"""The initial weights of a vision transformer."""

from __future__ import annotations

from mmengine.model import BaseModule, update_init_info
from mmengine.model.weight_init import trunc_normal_
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn


@WEIGHT_INITIALIZERS.register_module()
class ViTTruncNormal:
    """Initialize a vision transformer as timm and the code published with DINO and iBOT do.

    Weights of linear layers and the [CLS] token are drawn from a truncated normal distribution,
    biases are zero, norms start as the identity. Position embeddings are drawn by MMPretrain's
    ``VisionTransformer`` itself, of the default ``std``. Patch embedding and mask token stay as
    they were built.

    MMEngine's ``TruncNormal`` cannot do this: MMPretrain's layers draw those of their MLP from
    another distribution after it, and it does not reach the [CLS] token.

    Args:
        std: Standard deviation of weights.
        token_std: That of the [CLS] token, by default ``std``; 1e-6 in DINOv2.
    """

    def __init__(self, std: float = 0.02, token_std: float | None = None) -> None:
        self.std = std
        self.token_std = std if token_std is None else token_std

    def __call__(self, module: BaseModule) -> None:
        """Initialize a ``VisionTransformer`` of MMPretrain and its children."""
        # MMEngine initializes children after their parent, unless they already are.
        for child in module.children():
            if hasattr(child, 'init_weights'):
                child.init_weights()
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                trunc_normal_(layer.weight, std=self.std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.LayerNorm):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
        if getattr(module, 'cls_token', None) is not None:
            trunc_normal_(module.cls_token, std=self.token_std)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'{type(self).__name__}: std={self.std}')
