"""Backbones of timm and of published files under MMPretrain's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from .published import flattened, from_published

#: Bound of the periods of DINOv3, and how far bfloat16 may take them from their values, relatively.
_PERIOD, _ROUNDING = 100.0, 0.02
_WRAPPERS = re.compile(r'^((teacher|student)\.)?(module\.)?(backbone\.)?')


def mmpretrain_names(checkpoint: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """The weights of a backbone under the names of MMPretrain's.

    Known are ViT and ResNet as published with DINO, iBOT, DINOv2 and DINOv3, and timm's with the
    same parts. Of a full checkpoint the teacher is taken. Names that are not known stay as they
    are.

    Returns:
        The weights, learned positions with one of the [CLS] token; None if most names are unknown.

    Raises:
        ValueError: If rotary positions have other periods than those of DINOv3.
    """
    try:
        weights, unmatched, _ = from_published(checkpoint)
    except ValueError:
        return None
    has_teacher = any(name.startswith('teacher.backbone.') for name in weights)
    prefix = 'teacher.backbone.' if has_teacher else 'backbone.'
    state = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    values = dict(flattened(checkpoint))
    for name in unmatched:
        is_other = has_teacher and name.startswith('student.')
        if isinstance(values[name], Tensor) and not is_other:
            state.setdefault(_WRAPPERS.sub('', name), values[name])
    if 'patch_embed.projection.weight' in state:
        if 'pos_embed' in state:
            _add_position_of_cls(state)
        _name_packed_gates(state)
        _resolve_buffers_of_dinov3(state)
    return state or None


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize position embeddings (1, 1 + N, C) of a square grid to rows and columns of patches.

    Bicubic and antialiased, as timm and DINOv2 with registers do. Positions of no square come back
    as they are.
    """
    number = positions.shape[1] - 1
    side = isqrt(number)
    if number == grid[0] * grid[1] or number != side * side:
        return positions
    cls, patches = positions.split([1, side * side], dim=1)
    # (1, h w, C) -> (1, C, h, w)
    patches = patches.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    patches = torch.nn.functional.interpolate(patches, size=grid, mode='bicubic', antialias=True)
    return torch.cat((cls, patches.flatten(2).mT.to(cls.dtype)), dim=1)


def _add_position_of_cls(state: dict[str, Tensor]) -> None:
    positions = state['pos_embed']
    if isqrt(positions.shape[1]) ** 2 == positions.shape[1]:
        # timm's models with registers have added the position of [CLS] to its token.
        state['pos_embed'] = torch.cat((torch.zeros_like(positions[:, :1]), positions), dim=1)


def _resolve_buffers_of_dinov3(state: dict[str, Tensor]) -> None:
    """Take out the buffers of the authors' DINOv3, and keep what they change.

    Names and meaning are those of ``models/vision_transformer.py``, ``layers/attention.py`` and
    ``layers/rope_position_encoding.py`` of `facebookresearch/dinov3
    <https://github.com/facebookresearch/dinov3>`_: ``bias_mask`` multiplies the bias of queries,
    keys and values, and is 0 for the keys; ``rope_embed.periods`` are the periods, rounded to
    bfloat16 during the authors' training.
    """
    for name in [name for name in state if name.endswith('.attn.qkv.bias_mask')]:
        mask = state.pop(name)
        bias = re.sub(r'^blocks\.(\d+)\.(.*)_mask$', r'layers.\1.\2', name)
        # Not multiplied: the mask of a network that was never initialized holds NaN.
        state[bias] = torch.where(mask == 1, state[bias], 0)
    periods = state.pop('rope_embed.periods', None)
    if periods is None:
        return
    # (w / 4,) for heads of w channels
    expected = _PERIOD ** (torch.arange(len(periods)) / len(periods))
    if not torch.allclose(periods.float(), expected, rtol=_ROUNDING):
        raise ValueError(
            f'its rotary positions have periods from {periods.min():.3g} to {periods.max():.3g}, '
            f'expected {expected.min():.3g} to {expected.max():.3g} as of DINOv3.'
        )


def _name_packed_gates(state: dict[str, Tensor]) -> None:
    """Give timm's packed SwiGLU its names; timm calls its layers as those of an MLP."""
    for name in [name for name in state if re.fullmatch(r'layers\.\d+\.ffn.layers.1.weight', name)]:
        part = name.removesuffix('layers.1.weight')
        hidden = state.get(f'{part}layers.0.0.weight')
        if hidden is not None and len(hidden) == 2 * state[name].shape[1]:
            for theirs, ours in (('layers.0.0.', 'w12.'), ('layers.1.', 'w3.')):
                for kind in ('weight', 'bias'):
                    if part + theirs + kind in state:
                        state[part + ours + kind] = state.pop(part + theirs + kind)
