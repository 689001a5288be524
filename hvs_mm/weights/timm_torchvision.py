"""Export backbones of MMPretrain to torchvision and timm.

The ResNets of torchvision and timm have MMPretrain's names. timm's vision transformer has the names
that were published with DINO, except for the layer scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any, NamedTuple

import torch
import torchvision
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import Tensor

from .pretrained_backbone import list_some
from .published import differing_shapes, to_published

#: Libraries whose names can be written.
STYLES = ('torchvision', 'timm', 'mmpretrain')

# Depth of a ResNet by (whether it has bottlenecks, blocks of its stages).
_RESNETS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
# timm's name of a transformer by (width, layers, hidden units), and the patch sizes for which timm
# has that model, for images of 224 pixels and with heads of 64 units.
_TIMM_VITS = {
    (192, 12, 768): ('tiny', (16,)),
    (384, 12, 1536): ('small', (8, 16, 32)),
    (768, 12, 3072): ('base', (8, 16, 32)),
    (1024, 24, 4096): ('large', (14, 16, 32)),
    (1280, 32, 5120): ('huge', (14,)),
}
_TIMM_IMAGE_SIZE = 224
_HEAD_WIDTH = 64
_LAYER_SCALE = {'gamma_1': 'ls1.gamma', 'gamma_2': 'ls2.gamma'}
# The first two are defaults of all three libraries, the last is MMPretrain's where `norm_cfg` has
# no eps.
_RESNET_EPS, _VIT_EPS, _UNSET_EPS = 1e-5, 1e-6, 1e-5
# Settings of MMPretrain that change the features, but neither names nor shapes.
_RESNET_SETTINGS = {'style': 'pytorch', 'strides': (1, 2, 2, 2), 'dilations': (1, 1, 1, 1)}
_VIT_SETTINGS = {'patch_cfg': {}, 'layer_cfgs': {}}
# Tensors that a VisionTransformer of timm has no place for.
_LEFT_OUT = {
    'mask_token': 'stands for masked patches in pretraining',
    'ln2.weight': "normalizes MMPretrain's mean of patch tokens",
    'ln2.bias': "normalizes MMPretrain's mean of patch tokens",
}
_AS_THEY_ARE = 'To write the names as they are, use --style mmpretrain.'


class RenamedBackbone(NamedTuple):
    """A backbone for another library.

    Attributes:
        architecture: E.g. ``'ResNet-50'``.
        style: Library whose names the weights have, one of ``STYLES``.
        weights: The state dict.
        left_out: Tensors that the target has no place for, each with the reason.
        notes: Where the target would compute other features, one sentence each.
        model: Python expression that builds a model for the weights; None if none is known.
    """

    architecture: str
    style: str
    weights: dict[str, Tensor]
    left_out: dict[str, str]
    notes: list[str]
    model: str | None


def rename_backbone(
    state: Mapping[str, Tensor],
    style: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> RenamedBackbone:
    """Rename the weights of a backbone for another library.

    Args:
        state: The weights as :func:`~hvs_mm.weights.backbone_state` gives them.
        style: ``'torchvision'`` (ResNet), ``'timm'`` (ResNet and ViT) or ``'mmpretrain'`` (any
            backbone, its names as they are). By default torchvision for a ResNet, timm for a ViT.
        config: Config of the backbone, if known, for what the weights do not show: the number of
            heads, the eps of norms.

    Returns:
        The weights, copied, in the order of ``state``.

    Raises:
        ValueError: If the architecture is unknown or does not exist in this style.
    """
    if style not in (None, *STYLES):
        raise ValueError(f'style={style!r} is unknown, expected one of {", ".join(STYLES)}.')
    config = config or {}
    if style == 'mmpretrain':
        architecture = str(config.get('type', 'not known'))
        return RenamedBackbone(architecture, style, _copies(state), {}, [], None)
    if 'layer1.0.conv1.weight' in state:
        return _rename_resnet(state, style or 'torchvision', config)
    if 'layers.0.attn.qkv.weight' in state and 'patch_embed.projection.weight' in state:
        if style == 'torchvision':
            raise ValueError(
                'style torchvision is for ResNets, and this is a vision transformer. Use --style '
                'timm.'
            )
        return _rename_vit(state, config)
    raise ValueError(
        f'the architecture is unknown, with {list_some(state)}. Expected a ResNet or a '
        f'VisionTransformer of MMPretrain. {_AS_THEY_ARE}'
    )


def _rename_resnet(
    state: Mapping[str, Tensor], style: str, config: Mapping[str, Any]
) -> RenamedBackbone:
    stem = next((name for name in state if name.startswith('stem.')), None)
    if stem is not None:
        raise ValueError(
            f"the ResNet has a deep stem ({stem}), as in ResNetV1c and ResNetV1d; torchvision's "
            f'ResNet has none. {_AS_THEY_ARE}'
        )
    blocks = tuple(_count(state, f'layer{stage}') for stage in range(1, 5))
    depth = _RESNETS.get(('layer1.0.conv3.weight' in state, blocks))
    if depth is None:
        raise ValueError(
            f'the ResNet has {"-".join(map(str, blocks))} blocks in its stages, expected those of '
            f'depth {", ".join(map(str, _RESNETS.values()))}. {_AS_THEY_ARE}'
        )
    name = f'resnet{depth}'
    with torch.device('meta'):
        reference = getattr(torchvision.models, name)().state_dict()
    expected = {key: value.shape for key, value in reference.items() if not key.startswith('fc.')}
    _check_shapes(state, expected, f"torchvision's {name}")
    notes = _notes(config, _RESNET_SETTINGS, style, _RESNET_EPS)
    models = {
        'torchvision': f'torchvision.models.{name}()',
        'timm': f'timm.create_model({name!r}, num_classes=0)',
    }
    return RenamedBackbone(f'ResNet-{depth}', style, _copies(state), {}, notes, models[style])


def _rename_vit(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> RenamedBackbone:
    left_out = {name: reason for name, reason in _LEFT_OUT.items() if name in state}
    weights, unknown = _timm_names({k: v for k, v in state.items() if k not in left_out})
    projection = weights['patch_embed.proj.weight'].shape
    width, channels, _, patch = projection
    depth = _count(weights, 'blocks')
    # The comparison below reports missing tensors.
    num_tokens = weights['pos_embed'].shape[1] if 'pos_embed' in weights else 0
    hidden = len(weights.get('blocks.0.mlp.fc1.weight', ()))
    settings: dict[str, Any] = {} if 'blocks.0.attn.qkv.bias' in weights else {'qkv_bias': False}
    layer_scale = 'blocks.0.ls1.gamma' in weights
    arch = dict(embed_dims=width, num_layers=depth, num_heads=1, feedforward_channels=hidden)
    with torch.device('meta'):
        reference = VisionTransformer(
            arch,
            patch_size=patch,
            in_channels=channels,
            layer_scale_init_value=float(layer_scale),
            **settings,
        )
    expected = {name: value.shape for name, value in _timm_names(reference.state_dict())[0].items()}
    expected['pos_embed'] = (1, num_tokens, width)
    _check_shapes(weights | unknown, expected, "timm's VisionTransformer")

    image_size = _image_size(config, num_tokens - 1, patch)
    heads = _num_heads(config)
    # Any number: timm builds a layer scale if there is an initial value.
    settings |= {'init_values': 1.0} if layer_scale else {}
    settings |= {} if channels == 3 else {'in_chans': channels}
    model = _timm_model(width, depth, hidden, patch, image_size, heads, settings)
    notes = _notes(config, _VIT_SETTINGS, 'timm', _VIT_EPS)
    if heads is None:
        notes.append(
            'the checkpoint does not tell the number of heads; heads of '
            f'{_HEAD_WIDTH} units are assumed.'
        )
    architecture = f'VisionTransformer, width {width}, {depth} layers, patch {patch}'
    return RenamedBackbone(architecture, 'timm', _copies(weights), left_out, notes, model)


def _timm_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a transformer under timm's names, and those for which it has none."""
    named = {f'backbone.{name}': value for name, value in state.items()}
    published, unknown, _ = to_published(named)
    weights = {}
    for name, value in published.items():
        start, _, last = name.rpartition('.')
        weights[f'{start}.{_LAYER_SCALE[last]}' if last in _LAYER_SCALE else name] = value
    return weights, {name.removeprefix('backbone.'): named[name] for name in unknown}


def _timm_model(
    width: int,
    depth: int,
    hidden: int,
    patch: int,
    image_size: int | tuple[int, int] | None,
    num_heads: int | None,
    settings: Mapping[str, Any],
) -> str | None:
    """Expression that builds the transformer; None if its image size or heads are unknown."""
    num_heads = num_heads or width // _HEAD_WIDTH
    if image_size is None or not num_heads or width % num_heads:
        return None
    size, patches = _TIMM_VITS.get((width, depth, hidden), ('', ()))
    if patch in patches:
        start = f"timm.create_model('vit_{size}_patch{patch}_{_TIMM_IMAGE_SIZE}', "
        usual = {'img_size': _TIMM_IMAGE_SIZE, 'num_heads': width // _HEAD_WIDTH}
        own = {'img_size': image_size, 'num_heads': num_heads}
    else:
        start, usual = 'timm.models.VisionTransformer(', {}
        own = {
            'img_size': image_size,
            'patch_size': patch,
            'embed_dim': width,
            'depth': depth,
            'num_heads': num_heads,
            'mlp_ratio': hidden / width,
        }
    given = {key: value for key, value in own.items() if usual.get(key) != value}
    given |= {**settings, 'num_classes': 0}
    return start + ', '.join(f'{key}={value!r}' for key, value in given.items()) + ')'


def _image_size(
    config: Mapping[str, Any], num_patches: int, patch: int
) -> int | tuple[int, int] | None:
    given = config.get('img_size')
    if isinstance(given, (list, tuple)) and len(given) == 2 and given[0] != given[1]:
        return tuple(given)
    side = isqrt(num_patches)
    return side * patch if side * side == num_patches else None


def _num_heads(config: Mapping[str, Any]) -> int | None:
    arch = config.get('arch')
    if isinstance(arch, str):
        kind = MODELS.get(str(config.get('type')))
        arch = getattr(kind, 'arch_zoo', {}).get(arch.lower())
    heads = arch.get('num_heads') if isinstance(arch, Mapping) else None
    return heads if isinstance(heads, int) else None


def _notes(
    config: Mapping[str, Any], settings: Mapping[str, Any], style: str, usual_eps: float
) -> list[str]:
    """Settings of a config with which the target computes other features."""
    notes = [
        f'the config in the checkpoint has {key}={config[key]!r}, {style} has {usual!r}: the '
        'features differ.'
        for key, usual in settings.items()
        if key in config and _plain(config[key]) != _plain(usual)
    ]
    norm = config.get('norm_cfg')
    eps = norm.get('eps', _UNSET_EPS) if isinstance(norm, Mapping) else usual_eps
    if eps != usual_eps:
        notes.append(
            f'the norms have eps={eps}, those of {style} {usual_eps}: the features differ. Set '
            'eps in the modules of the model.'
        )
    return notes


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _count(state: Iterable[str], part: str) -> int:
    """Number of the modules ``part.0``, ``part.1`` ..."""
    found = (re.match(rf'{part}\.(\d+)\.', name) for name in state)
    return len({match[1] for match in found if match})


def _copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A slice of a larger tensor would be saved together with the rest.
    return {name: value.clone() for name, value in state.items()}


def _check_shapes(
    state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], target: str
) -> None:
    differing = []
    for name, found, wanted in differing_shapes(state, expected):
        if wanted is None:
            differing.append(f'{name} has no place')
        elif found is not None:
            differing.append(f'{name} is {found} instead of {wanted}')
        # Old versions of torch saved no counters; loading fills them in.
        elif not name.endswith('num_batches_tracked'):
            differing.append(f'{name} is missing')
    if differing:
        raise ValueError(
            f'the backbone is not {target}: {list_some(differing, separator="; ")}. {_AS_THEY_ARE}'
        )
