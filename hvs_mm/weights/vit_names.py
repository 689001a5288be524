"""Vision transformers with timm's names under the names of torchvision and of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

# Pairs of a pattern of timm's name and the replacement, as for `re.sub`.
_TORCHVISION = (
    (r'^cls_token$', 'class_token'),
    (r'^pos_embed$', 'encoder.pos_embedding'),
    (r'^patch_embed\.proj\.', 'conv_proj.'),
    (r'^norm\.', 'encoder.ln.'),
    (r'^blocks\.(\d+)\.', r'encoder.layers.encoder_layer_\1.'),
    (r'\.norm(\d)\.', r'.ln_\1.'),
    (r'\.attn\.qkv\.', '.self_attention.in_proj_'),
    (r'\.attn\.proj\.', '.self_attention.out_proj.'),
    (r'\.mlp\.fc1\.', '.mlp.0.'),
    (r'\.mlp\.fc2\.', '.mlp.3.'),
)
_TRANSFORMERS = (
    (r'^cls_token$', 'embeddings.cls_token'),
    (r'^pos_embed$', 'embeddings.position_embeddings'),
    (r'^patch_embed\.proj\.', 'embeddings.patch_embeddings.projection.'),
    (r'^norm\.', 'layernorm.'),
    (r'^blocks\.(\d+)\.', r'encoder.layer.\1.'),
    (r'\.norm1\.', '.layernorm_before.'),
    (r'\.norm2\.', '.layernorm_after.'),
    (r'\.attn\.proj\.', '.attention.output.dense.'),
    (r'\.mlp\.fc1\.', '.intermediate.dense.'),
    (r'\.mlp\.fc2\.', '.output.dense.'),
)


def rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """Apply all rules, pairs of a pattern and a replacement, to a name in turn."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def torchvision_vit(settings: Mapping[str, Any], known: bool = True) -> str:
    """Expression that builds the transformer of torchvision.

    Args:
        settings: The arguments of timm's VisionTransformer.
        known: Whether image size and heads are known.

    Raises:
        ValueError: If torchvision has no such transformer.
    """
    reasons = {
        'an unknown number of heads, or images that are not square': not known,
        'images that are not square': isinstance(settings['img_size'], tuple),
        'a layer scale': settings['init_values'],
        'registers': settings['reg_tokens'],
        'SwiGLU': settings['act_layer'] == 'silu',
        'attention without biases': not settings['qkv_bias'],
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        raise ValueError(f'torchvision has no ViT with {reason}. Use --style timm.')
    arguments = dict(
        image_size=settings['img_size'],
        patch_size=settings['patch_size'],
        num_layers=settings['depth'],
        num_heads=settings['num_heads'],
        hidden_dim=settings['embed_dim'],
        mlp_dim=round(settings['embed_dim'] * settings['mlp_ratio']),
    )
    listed = ', '.join(f'{name}={value}' for name, value in arguments.items())
    return f'torchvision.models.VisionTransformer({listed})'


def torchvision_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a transformer of timm under torchvision's names."""
    return {rename(name, _TORCHVISION): value for name, value in weights.items()}


def transformers_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a transformer of timm under the names of ``ViTModel`` of transformers.

    It has three layers in place of the one for queries, keys and values.
    """
    renamed = {}
    for name, value in weights.items():
        own = rename(name, _TRANSFORMERS)
        if '.attn.qkv.' in own:
            for part, tensor in zip(('query', 'key', 'value'), value.chunk(3)):
                own_part = own.replace('.attn.qkv.', f'.attention.attention.{part}.')
                renamed[own_part] = tensor.contiguous()
        else:
            renamed[own] = value
    return renamed
