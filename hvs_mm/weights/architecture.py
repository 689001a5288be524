"""What the shapes of a backbone's weights tell about its architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


def vit_architecture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Width, layers and parts of a vision transformer with MMPretrain's names.

    Returns:
        ``width``, ``layers``, ``patch size``, ``channels``, ``feed-forward part`` (``'MLP'`` or
        ``'SwiGLU'``), ``hidden units``, ``registers``, ``positions`` (``'learned'``, or
        ``'rotary'`` of DINOv3), and whether there are ``layer scale`` and ``qkv bias``. Empty for
        any other network.
    """
    patches, gates = (
        state.get('patch_embed.projection.weight'),
        state.get('layers.0.ffn.w12.weight'),
    )
    if patches is None or 'layers.0.attn.qkv.weight' not in state:
        return {}
    hidden = state.get('layers.0.ffn.layers.0.0.weight', ())
    return {
        'width': patches.shape[0],
        'layers': count_modules(state, 'layers'),
        'patch size': patches.shape[-1],
        'channels': patches.shape[1],
        'feed-forward part': 'MLP' if gates is None else 'SwiGLU',
        'hidden units': len(hidden) if gates is None else len(gates) // 2,
        'registers': state['register_tokens'].shape[1] if 'register_tokens' in state else 0,
        'positions': 'learned' if 'pos_embed' in state else 'rotary',
        'layer scale': 'layers.0.attn.gamma1.weight' in state,
        'qkv bias': 'layers.0.attn.qkv.bias' in state,
    }


def differing_architecture(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How two vision transformers differ, for a message; ``''`` if they do not, or for others."""
    theirs, ours = vit_architecture(found), vit_architecture(expected)
    if not theirs or not ours:
        return ''
    return '; '.join(
        f'{part} {_worded(theirs[part])} in the checkpoint, {_worded(ours[part])} here'
        for part in ours
        if theirs[part] != ours[part]
    )


def count_modules(state: Iterable[str], part: str) -> int:
    """Number of the modules ``part.0``, ``part.1`` ..."""
    found = (re.match(rf'{part}\.(\d+)\.', name) for name in state)
    return len({match[1] for match in found if match})


def _worded(value: Any) -> str:
    return {True: 'yes', False: 'no'}[value] if isinstance(value, bool) else str(value)
