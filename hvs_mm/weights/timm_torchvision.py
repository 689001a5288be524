"""Export backbones of MMPretrain to torchvision and timm.

The ResNets of torchvision and timm have MMPretrain's names. timm's vision transformer has the names
that were published with DINO, except for layer scale, registers and SwiGLU; torchvision's has its
own, see :mod:`hvs_mm.weights.vit_names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, NamedTuple

import torch
import torchvision
from mmpretrain.models import ResNet, VisionTransformer
from mmpretrain.models.backbones.resnet import Bottleneck
from mmpretrain.registry import MODELS
from torch import Tensor

from .architecture import count_modules, vit_architecture
from .pretrained_backbone import differing_shapes, list_some
from .published import to_published
from .vit_names import rename, torchvision_names, torchvision_vit

#: Libraries whose names can be written.
STYLES = ('torchvision', 'timm', 'mmpretrain')

# Depth of a ResNet by (whether it has bottlenecks, blocks of its stages).
_RESNETS = {
    (block is Bottleneck, blocks): depth for depth, (block, blocks) in ResNet.arch_settings.items()
}
# timm's name of a transformer by (width, layers), and the patch sizes for which timm has a model,
# for images of 224 pixels, with heads of 64 units and 4 times as many hidden units as the width.
_TIMM_VITS = {
    (192, 12): ('tiny', (16,)),
    (384, 12): ('small', (8, 16, 32)),
    (768, 12): ('base', (8, 16, 32)),
    (1024, 24): ('large', (14, 16, 32)),
    (1280, 32): ('huge', (14,)),
}
_TIMM_IMAGE_SIZE, _DINOV2_IMAGE_SIZE = 224, 518
_TIMM_VIT = "timm's VisionTransformer"
# Pairs of a pattern and the replacement, as for `re.sub`.
_PUBLISHED_TO_TIMM = (
    (r'gamma_(\d)$', r'ls\1.gamma'),
    (r'^register_tokens$', 'reg_token'),
    (r'\.mlp\.w12\.', '.mlp.fc1.'),
    (r'\.mlp\.w3\.', '.mlp.fc2.'),
)
_HEAD_WIDTH = 64
# The first two are defaults of all three libraries, the last is MMPretrain's where `norm_cfg` has
# no eps.
_RESNET_EPS, _VIT_EPS, _UNSET_EPS = 1e-5, 1e-6, 1e-5
# Settings of MMPretrain that change the features, but neither names nor shapes.
_RESNET_SETTINGS = {'style': 'pytorch', 'strides': (1, 2, 2, 2), 'dilations': (1, 1, 1, 1)}
_VIT_SETTINGS: dict[str, Any] = {'patch_cfg': {}, 'layer_cfgs': {}}
# Tensors that a VisionTransformer of timm has no place for.
_LEFT_OUT = {
    'mask_token': 'stands for masked patches in pretraining',
    'ln2.weight': "normalizes MMPretrain's mean of patch tokens",
    'ln2.bias': "normalizes MMPretrain's mean of patch tokens",
}
# What makes a ResNet of torchvision or timm one for small images, MMPretrain's ResNet_CIFAR.
_SMALL_STEM = (
    'model.conv1 = torch.nn.Conv2d({channels}, 64, 3, padding=1, bias=False)',
    'model.maxpool = torch.nn.Identity()',
)
_OTHER_CHANNELS = (
    'model.conv1 = torch.nn.Conv2d({channels}, 64, 7, stride=2, padding=3, bias=False)',
)
_RGB = 3
_AS_THEY_ARE = 'To write the names as they are, use --style mmpretrain.'


class RenamedBackbone(NamedTuple):
    """A backbone for another library."""

    architecture: str
    style: str
    weights: dict[str, Tensor]
    #: Tensors that the target has no place for, each with the reason.
    left_out: dict[str, str]
    #: Where the target would compute other features, one sentence each.
    notes: list[str]
    #: Python expression that builds a model for the weights; None if none is known.
    model: str | None
    #: Python statements that then change ``model`` to fit.
    changes: tuple[str, ...] = ()
    #: The arguments of timm's VisionTransformer, or ``depth`` of a ResNet.
    settings: Mapping[str, Any] = {}


def rename_backbone(
    state: Mapping[str, Tensor],
    style: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> RenamedBackbone:
    """Rename the weights of a backbone for another library.

    Args:
        state: The weights as :func:`~hvs_mm.weights.backbone_state` gives them.
        style: ``'torchvision'`` or ``'timm'`` (ResNet and ViT) or ``'mmpretrain'`` (any backbone,
            its names as they are). By default torchvision for a ResNet, timm for a ViT.
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
        backbone = _rename_vit(state, config)
        return _for_torchvision(backbone) if style == 'torchvision' else backbone
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
    blocks = tuple(count_modules(state, f'layer{stage}') for stage in range(1, 5))
    depth = _RESNETS.get(('layer1.0.conv3.weight' in state, blocks))
    if depth is None:
        raise ValueError(
            f'the ResNet has {"-".join(map(str, blocks))} blocks in its stages, expected those of '
            f'depth {", ".join(map(str, _RESNETS.values()))}. {_AS_THEY_ARE}'
        )
    name = f'resnet{depth}'
    with torch.device('meta'):
        reference = torchvision.models.get_model(name).state_dict()
    expected = {key: value for key, value in reference.items() if not key.startswith('fc.')}
    channels, *kernel = state['conv1.weight'].shape[1:]
    is_small = kernel == [3, 3]
    expected['conv1.weight'] = torch.empty(64, channels, *((3, 3) if is_small else (7, 7)))
    _check_shapes(state, expected, f"torchvision's {name}")
    notes = _notes(config, _RESNET_SETTINGS, style, _RESNET_EPS)
    model = f'torchvision.models.{name}()'
    changes: tuple[str, ...] = _SMALL_STEM if is_small else ()
    if style == 'timm':
        given = '' if channels == _RGB else f', in_chans={channels}'
        model = f'timm.create_model({name!r}, num_classes=0{given})'
    elif channels != _RGB and not is_small:
        changes = _OTHER_CHANNELS
    return RenamedBackbone(
        f'ResNet-{depth}' + (' for small images' if is_small else ''),
        style,
        _copies(state),
        {},
        notes,
        model,
        tuple(change.format(channels=channels) for change in changes),
        {'depth': depth, 'blocks': blocks},
    )


def _rename_vit(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> RenamedBackbone:
    left_out = {name: reason for name, reason in _LEFT_OUT.items() if name in state}
    arch = vit_architecture(state)
    if 'pos_embed' not in state and arch['registers']:
        raise ValueError(f'rotary positions, as of DINOv3, are not written. {_AS_THEY_ARE}')
    width, depth, hidden = arch['width'], arch['layers'], arch['hidden units']
    packed, registers = arch['feed-forward part'] == 'SwiGLU', arch['registers']
    # The comparison below reports missing tensors.
    num_tokens = state['pos_embed'].shape[1] if 'pos_embed' in state else 0
    with torch.device('meta'):
        expected = VisionTransformer(
            dict(
                embed_dims=width,
                num_layers=depth,
                num_heads=1,
                # SwiGLU has two thirds of them.
                feedforward_channels=hidden * 3 // 2 if packed else hidden,
            ),
            patch_size=arch['patch size'],
            in_channels=arch['channels'],
            layer_scale_init_value=float(arch['layer scale']),
            qkv_bias=arch['qkv bias'],
            layer_cfgs={'ffn_type': 'swiglu_fused' if packed else 'origin'},
        ).state_dict()
        expected['pos_embed'] = torch.empty(1, num_tokens, width)
        if registers:
            expected['register_tokens'] = torch.empty(1, registers, width)
    _check_shapes({k: v for k, v in state.items() if k not in left_out}, expected, _TIMM_VIT)
    heads = _num_heads(config)
    settings = dict(
        img_size=_image_size(config, num_tokens - 1, arch['patch size']),
        patch_size=arch['patch size'],
        embed_dim=width,
        depth=depth,
        num_heads=heads or width // _HEAD_WIDTH,
        mlp_ratio=(2 * hidden if packed else hidden) / width,
        qkv_bias=arch['qkv bias'],
        # Any number: timm builds a layer scale if there is an initial value.
        init_values=float(arch['layer scale']),
        in_chans=arch['channels'],
        reg_tokens=registers,
        no_embed_class=bool(registers),
        act_layer='silu' if packed else 'gelu',
    )
    notes = _notes(config, _VIT_SETTINGS, 'timm', _VIT_EPS)
    if heads is None:
        notes.append(
            'the checkpoint does not tell the number of heads; heads of '
            f'{_HEAD_WIDTH} units are assumed.'
        )
    architecture = f'VisionTransformer, width {width}, {depth} layers, patch {arch["patch size"]}'
    architecture += f', {registers} registers' if registers else ''
    model = _timm_model(settings)
    weights = _copies(timm_names({k: v for k, v in state.items() if k not in left_out}))
    return RenamedBackbone(architecture, 'timm', weights, left_out, notes, model, (), settings)


def _for_torchvision(backbone: RenamedBackbone) -> RenamedBackbone:
    """A transformer with timm's names under those of torchvision."""
    settings = backbone.settings
    changes: tuple[str, ...] = ()
    if settings['in_chans'] != _RGB:
        sizes = ', '.join(str(settings[key]) for key in ('in_chans', 'embed_dim', 'patch_size'))
        changes = (f'model.conv_proj = torch.nn.Conv2d({sizes}, {settings["patch_size"]})',)
    return backbone._replace(
        style='torchvision',
        changes=changes,
        model=torchvision_vit(backbone.settings, known=backbone.model is not None),
        weights=torchvision_names(backbone.weights),
        notes=[note.replace('timm', 'torchvision') for note in backbone.notes],
    )


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a transformer with MMPretrain's names under timm's."""
    published, *_ = to_published({f'backbone.{name}': t for name, t in state.items()})
    weights = {rename(name, _PUBLISHED_TO_TIMM): value for name, value in published.items()}
    if 'reg_token' in weights:
        # timm's models with registers have no position for [CLS].
        weights['cls_token'] = weights['cls_token'] + weights['pos_embed'][:, :1]
        weights['pos_embed'] = weights['pos_embed'][:, 1:]
    return weights


def _timm_model(settings: Mapping[str, Any]) -> str | None:
    """Expression that builds the transformer; None if its image size or heads are unknown."""
    width, patch, heads = (settings[key] for key in ('embed_dim', 'patch_size', 'num_heads'))
    if settings['img_size'] is None or not heads or width % heads:
        return None
    usual = {
        'qkv_bias': True, 'init_values': 0.0, 'in_chans': 3, 'reg_tokens': 0,
        'no_embed_class': False, 'act_layer': 'gelu',
    }  # fmt: skip
    start = 'timm.models.VisionTransformer('
    size, patches = _TIMM_VITS.get((width, settings['depth']), ('', ()))
    registers = settings['reg_tokens']
    same: tuple[str, ...] = ('patch_size', 'embed_dim', 'depth', 'mlp_ratio')
    name, side = f'patch{patch}_{_TIMM_IMAGE_SIZE}', _TIMM_IMAGE_SIZE
    if patch == 14 and settings['init_values'] and size and registers in (0, 4):
        name, side = f'patch14{"_reg4" if registers else ""}_dinov2', _DINOV2_IMAGE_SIZE
        patches, same = (14,), (*same, 'init_values', 'reg_tokens', 'no_embed_class')
    if patch in patches and settings['mlp_ratio'] == 4 and size:
        start = f"timm.create_model('vit_{size}_{name}', "
        usual |= {key: settings[key] for key in same}
        usual |= {'img_size': side, 'num_heads': width // _HEAD_WIDTH}
    given = {key: value for key, value in settings.items() if usual.get(key) != value}
    given['num_classes'] = 0
    arguments = [f'{key}={value!r}' for key, value in given.items()]
    if settings['act_layer'] == 'silu':
        arguments.append('mlp_layer=timm.layers.SwiGLUPacked')
    return f'{start}{", ".join(arguments)})'


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
    # A config may have lists in place of tuples.
    notes = [
        f'the config in the checkpoint has {key}={config[key]!r}, {style} has {usual!r}: the '
        'features differ.'
        for key, usual in settings.items()
        if config.get(key, usual) not in (usual, [*usual])
    ]
    norm = config.get('norm_cfg')
    eps = norm.get('eps', _UNSET_EPS) if isinstance(norm, Mapping) else usual_eps
    if eps != usual_eps:
        notes.append(
            f'the norms have eps={eps}, those of {style} {usual_eps}: the features differ. Set '
            'eps in the modules of the model.'
        )
    return notes


def _copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A slice of a larger tensor would be saved together with the rest.
    return {name: value.clone() for name, value in state.items()}


def _check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], target: str) -> None:
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
