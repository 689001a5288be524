"""Small checkpoints in the form published with DINO and iBOT, and what such networks compute.

Written after the names and shapes of the published files, on their tensors directly: it shares
nothing with the models under test.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

WIDTH, DEPTH, NUM_HEADS, PATCH, SIZE = 16, 2, 2, 8, 32
HIDDEN, BOTTLENECK, PROTOTYPES, PATCH_PROTOTYPES = 20, 12, 24, 18

Weights = dict[str, Tensor]

ARCH = {
    'embed_dims': WIDTH,
    'num_layers': DEPTH,
    'num_heads': NUM_HEADS,
    'feedforward_channels': 4 * WIDTH,
}


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _linear(name: str, inputs: int, outputs: int) -> Weights:
    return {f'{name}.weight': _random(outputs, inputs) / 4, f'{name}.bias': _random(outputs)}


def _norm(name: str) -> Weights:
    return {f'{name}.weight': _random(WIDTH), f'{name}.bias': _random(WIDTH)}


def vit(masked: bool = False, layer_scale: bool = False) -> Weights:
    weights = {
        'cls_token': _random(1, 1, WIDTH),
        'pos_embed': _random(1, 1 + (SIZE // PATCH) ** 2, WIDTH),
        'patch_embed.proj.weight': _random(WIDTH, 3, PATCH, PATCH),
        'patch_embed.proj.bias': _random(WIDTH),
        **_norm('norm'),
    }
    if masked:
        weights['masked_embed'] = _random(1, WIDTH)
    for number in range(DEPTH):
        block = f'blocks.{number}'
        weights |= _norm(f'{block}.norm1') | _norm(f'{block}.norm2')
        weights |= _linear(f'{block}.attn.qkv', WIDTH, 3 * WIDTH)
        weights |= _linear(f'{block}.attn.proj', WIDTH, WIDTH)
        weights |= _linear(f'{block}.mlp.fc1', WIDTH, 4 * WIDTH)
        weights |= _linear(f'{block}.mlp.fc2', 4 * WIDTH, WIDTH)
        if layer_scale:
            weights |= {f'{block}.gamma_1': _random(WIDTH), f'{block}.gamma_2': _random(WIDTH)}
    return weights


def head(width: int = WIDTH, patches: str = 'none') -> Weights:
    """A projection; ``patches`` are 'none' (DINO), 'shared' or 'separate' (iBOT)."""
    weights = _linear('mlp.0', width, HIDDEN) | _linear('mlp.2', HIDDEN, HIDDEN)
    weights |= _linear('mlp.4', HIDDEN, BOTTLENECK)
    weights['last_layer.weight_g'] = 1 + torch.rand(PROTOTYPES, 1, dtype=torch.float64)
    weights['last_layer.weight_v'] = _random(PROTOTYPES, BOTTLENECK)
    if patches == 'shared':
        for name in ('weight_g', 'weight_v'):
            weights[f'last_layer2.{name}'] = weights[f'last_layer.{name}']
    elif patches == 'separate':
        weights['last_layer2.weight_g'] = 1 + torch.rand(PATCH_PROTOTYPES, 1, dtype=torch.float64)
        weights['last_layer2.weight_v'] = _random(PATCH_PROTOTYPES, BOTTLENECK)
    return weights


def network(backbone: Weights, projection: Weights, prefix: str = '') -> Weights:
    named = {f'{prefix}backbone.{name}': value for name, value in backbone.items()}
    return named | {f'{prefix}head.{name}': value for name, value in projection.items()}


def training_state() -> dict[str, Any]:
    # The published loop writes NumPy's numbers into the optimizer.
    group = {'lr': np.float64(1e-3), 'weight_decay': np.float64(0.04), 'params': [0]}
    return {
        'optimizer': {'state': {0: {'step': 1}}, 'param_groups': [group]},
        'epoch': 100,
        'args': Namespace(arch='vit_small', lr=5e-4, global_crops_scale=[0.4, 1.0]),
    }


def dino_checkpoint() -> dict[str, Any]:
    return {
        'student': network(vit(), head(), 'module.'),
        'teacher': network(vit(), head()),
        'dino_loss': {'center': _random(1, PROTOTYPES)},
        **training_state(),
    }


def ibot_checkpoint(
    student: str = 'separate', teacher: str = 'separate', layer_scale: bool = False
) -> dict[str, Any]:
    count = PATCH_PROTOTYPES if teacher == 'separate' else PROTOTYPES
    return {
        'student': network(vit(True, layer_scale), head(patches=student), 'module.'),
        'teacher': network(vit(False, layer_scale), head(patches=teacher)),
        'ibot_loss': {'center': _random(1, PROTOTYPES), 'center2': _random(1, 1, count)},
        **training_state(),
    }


def vit_tokens(weights: Weights, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Tokens (B, 1 + N, C) of images (B, 3, H, W) with masked patches (B, h, w)."""
    x = F.conv2d(
        images, weights['patch_embed.proj.weight'], weights['patch_embed.proj.bias'], stride=PATCH
    )
    if mask is not None:
        x = x.permute(0, 2, 3, 1).clone()
        x[mask] = weights['masked_embed']
        x = x.permute(0, 3, 1, 2)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([weights['cls_token'].expand(len(x), -1, -1), x], 1) + weights['pos_embed']

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), weights[f'{name}.weight'], weights[f'{name}.bias'], 1e-6)

    for number in range(DEPTH):
        block = f'blocks.{number}'
        qkv = affine(f'{block}.attn.qkv', norm(f'{block}.norm1', x))
        # (B, N, 3 C) -> 3 x (B, heads, N, C / heads)
        q, k, v = qkv.unflatten(-1, (3, NUM_HEADS, -1)).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        y = affine(f'{block}.attn.proj', (attention @ v).transpose(1, 2).flatten(2))
        x = x + weights.get(f'{block}.gamma_1', 1) * y
        y = F.gelu(affine(f'{block}.mlp.fc1', norm(f'{block}.norm2', x)))
        x = x + weights.get(f'{block}.gamma_2', 1) * affine(f'{block}.mlp.fc2', y)
    return norm('norm', x)


def head_logits(weights: Weights, x: Tensor, layer: str = 'last_layer') -> Tensor:
    """Logits (..., K) of features (..., C)."""
    for number in (0, 2, 4):
        x = x @ weights[f'mlp.{number}.weight'].T + weights[f'mlp.{number}.bias']
        if number < 4:
            x = F.gelu(x)
    v = weights[f'{layer}.weight_v']
    prototypes = weights[f'{layer}.weight_g'] * v / v.norm(dim=1, keepdim=True)
    return x / x.norm(dim=-1, keepdim=True) @ prototypes.T
