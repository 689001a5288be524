"""Rename the weights that the authors of DINO and iBOT published for this package, and back.

Names and shapes are those of `facebookresearch/dino <https://github.com/facebookresearch/dino>`_
(``main_dino.py``, ``vision_transformer.py``, ``hubconf.py``), `bytedance/ibot
<https://github.com/bytedance/ibot>`_ (``main_ibot.py``, ``models/head.py``,
``extract_backbone_weights.py``) and the backbones of `facebookresearch/dinov2
<https://github.com/facebookresearch/dinov2>`_ and `facebookresearch/dinov3
<https://github.com/facebookresearch/dinov3>`_ (``models/vision_transformer.py``); those of
`automl/hvp <https://github.com/automl/hvp>`_ differ in the weight-normalized layers of DINO, which
torch has parametrized since. There are two kinds of files:

- full checkpoints: ``student`` and ``teacher`` with ``backbone.*`` and ``head.*`` (``module.*``
  where they were wrapped for several GPUs), the centers in ``dino_loss`` or ``ibot_loss``, and the
  state of the training;
- backbones: bare names, for iBOT inside of ``state_dict``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

# {n} is a number, {p} and {s} the tensors of a layer without and with statistics, {g} those of a
# weight-normalized layer. Fields stand in the same order in both names.
_FIELDS = {
    'n': r'(\d+)',
    'p': '(weight|bias)',
    's': '(weight|bias|running_mean|running_var|num_batches_tracked)',
    'g': '(weight_g|weight_v)',
}
# Published name, our name.
_VIT = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('masked_embed', 'mask_token'),
    ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
    ('norm.{p}', 'ln1.{p}'),
    ('blocks.{n}.norm1.{p}', 'layers.{n}.ln1.{p}'),
    ('blocks.{n}.norm2.{p}', 'layers.{n}.ln2.{p}'),
    ('blocks.{n}.attn.qkv.{p}', 'layers.{n}.attn.qkv.{p}'),
    ('blocks.{n}.attn.proj.{p}', 'layers.{n}.attn.proj.{p}'),
    ('blocks.{n}.mlp.fc1.{p}', 'layers.{n}.ffn.layers.0.0.{p}'),
    ('blocks.{n}.mlp.fc2.{p}', 'layers.{n}.ffn.layers.1.{p}'),
    ('blocks.{n}.gamma_1', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.gamma_2', 'layers.{n}.ffn.gamma2.weight'),
    ('register_tokens', 'register_tokens'),
    ('blocks.{n}.mlp.w12.{p}', 'layers.{n}.ffn.w12.{p}'),
    ('blocks.{n}.mlp.w3.{p}', 'layers.{n}.ffn.w3.{p}'),
    # Other names of DINOv2 and timm. The way back takes those above.
    ('mask_token', 'mask_token'),
    ('reg_token', 'register_tokens'),
    ('storage_tokens', 'register_tokens'),
    ('blocks.{n}.ls1.gamma', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.ls2.gamma', 'layers.{n}.ffn.gamma2.weight'),
)
# torchvision's ResNet and MMPretrain's have the same names.
_RESNET = (
    'conv1.{p}',
    'bn1.{s}',
    'layer{n}.{n}.conv{n}.{p}',
    'layer{n}.{n}.bn{n}.{s}',
    'layer{n}.{n}.downsample.{n}.{s}',
)
_HEAD = ('mlp.{n}.{s}', 'last_layer.{g}', 'last_layer2.{g}')
_NAMES = [(f'backbone.{theirs}', f'backbone.{ours}') for theirs, ours in _VIT]
_NAMES += [(f'backbone.{name}', f'backbone.{name}') for name in _RESNET]
_NAMES += [(f'head.{name}', f'neck.{name}') for name in _HEAD]
_CENTERS = (('center', 'head.center'), ('center2', 'head.patch_center'))
# Only MMPretrain's ViT and the projections of this package have such names.
_UPSTREAM = re.compile(r'(^|\.)(neck|layers\.\d+\.(ln1|ffn)|patch_embed\.projection)\.')
_TRAINING_STATE = ('optimizer', 'fp16_scaler', 'epoch', 'args', 'total_time')
_WEIGHT_NORM = ('weight_g', 'weight_v')
# What torch.nn.utils.parametrizations.weight_norm calls them, in this order.
_PARAMETRIZED = re.compile(r'parametrizations\.weight\.original([01])$')
# DINOv2 trains its blocks in chunks; the second number counts all of them.
_CHUNK = re.compile(r'(^|\.)blocks\.\d+\.(?=\d+\.)')
# Groups whose names are those of a network.
_NETWORK_GROUPS = ('state_dict', 'model')
# The sum that automl/hvp adds up between optimizer steps.
_UNFINISHED_CENTER = 'running_center'
#: Prefix of a teacher's names.
TEACHER = 'teacher.'


class Converted(NamedTuple):
    """The converted weights: a flat state dict in our names, or a checkpoint as published.

    ``unmatched`` are names of the source without a counterpart, which were not converted; ``notes``
    are other differences, one sentence each.
    """

    weights: dict[str, Any]
    unmatched: list[str]
    notes: list[str]


def from_published(checkpoint: Mapping[str, Any]) -> Converted:
    """Convert the content of a published file.

    Returns:
        ``backbone.*``, and from a full checkpoint ``neck.*``, ``head.center`` (1, K),
        ``head.patch_center`` (1, K') and ``teacher.*``.

    Raises:
        TypeError: If it is no dict.
        ValueError: If it has the names of MMPretrain already, or most names are unknown.
    """
    _check_mapping(checkpoint)
    weights: dict[str, Any] = {}
    unmatched: list[str] = []
    for source, value in flattened(checkpoint):
        target = _our_name(source)
        if target is None or target in weights or not isinstance(value, Tensor):
            unmatched.append(source)
        elif target.endswith('backbone.mask_token'):
            weights[target] = value.reshape(1, 1, -1)
        else:
            weights[target] = value.reshape(1, -1) if target == 'head.patch_center' else value
    upstream = next((key for key in unmatched if _UPSTREAM.search(key)), None)
    if upstream is not None:
        raise ValueError(
            f'{upstream!r} is a name of MMPretrain: this checkpoint needs no conversion (the way '
            'back is hvs_to_published.py).'
        )
    # Swin and XCiT share some names with a ViT.
    if not weights or len(unmatched) > len(weights):
        raise ValueError(_unknown(weights, unmatched, 'published with DINO or iBOT'))
    state = [key for key in _TRAINING_STATE if key in checkpoint]
    notes = [f'left out, no weights: {", ".join(state)}.'] if state else []
    notes += _merge_shared_prototypes(weights)
    token = weights.get('backbone.mask_token')
    if token is not None and f'{TEACHER}backbone.cls_token' in weights:
        weights.setdefault(f'{TEACHER}backbone.mask_token', token.clone())
        notes.append(
            "teacher.backbone.mask_token is a copy of the student's: the published teacher, "
            'which sees no masks, has none.'
        )
    return Converted(weights, unmatched, notes)


def to_published(checkpoint: Mapping[str, Any]) -> Converted:
    """Convert a checkpoint that training wrote, with or without hard views, or a state dict.

    Returns:
        A full checkpoint with ``student``, ``teacher`` and the centers; bare names for a backbone
        without the rest.

    Raises:
        TypeError: If it is no dict.
        ValueError: If no name is known.
    """
    _check_mapping(checkpoint)
    state_dict = checkpoint.get('state_dict', checkpoint)
    student: dict[str, Tensor] = {}
    teacher: dict[str, Tensor] = {}
    centers, unmatched, notes = {}, [], []
    for key, value in state_dict.items():
        network = teacher if key.startswith(TEACHER) else student
        name = _rename(key.removeprefix(TEACHER), _NAMES, back=True)
        center = _rename(key, _CENTERS, back=True)
        if not isinstance(value, Tensor) or (name is None and center is None):
            unmatched.append(key)
        elif center is not None:
            centers[center] = value.reshape(1, 1, -1) if center == 'center2' else value
        elif network is teacher and name == 'backbone.masked_embed':
            notes.append(f'{key} is left out: the published teacher has none.')
        elif name is not None:
            network[name] = value.reshape(1, -1) if name == 'backbone.masked_embed' else value
    if not student and not teacher:
        raise ValueError(_unknown({}, unmatched, 'of DINO or IBOT of this package'))
    if not teacher and not centers and all(name.startswith('backbone.') for name in student):
        bare = {name.removeprefix('backbone.'): value for name, value in student.items()}
        return Converted(bare, unmatched, notes)
    is_ibot = 'center2' in centers
    for network in (student, teacher) if is_ibot else ():
        for kind in _WEIGHT_NORM:
            # The published code saves shared prototypes under both names.
            if f'head.last_layer.{kind}' in network:
                network.setdefault(f'head.last_layer2.{kind}', network[f'head.last_layer.{kind}'])
    student = {f'module.{name}': value for name, value in student.items()}
    # The published code always wraps the student, but the teacher only for synchronized BatchNorm.
    if any(name.endswith('running_mean') for name in teacher):
        teacher = {f'module.{name}': value for name, value in teacher.items()}
    loss = 'ibot_loss' if is_ibot else 'dino_loss'
    result = {'student': student, 'teacher': teacher, loss: centers}
    notes.append(
        'optimizer, epoch and args are not written: the published code evaluates the result, but '
        'cannot resume from it.'
    )
    return Converted({key: value for key, value in result.items() if value}, unmatched, notes)


def _check_mapping(checkpoint: Any) -> None:
    if not isinstance(checkpoint, Mapping):
        raise TypeError(f'a checkpoint is a dict, this is {type(checkpoint).__name__}.')


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r'\{(\w)\}', template)
    return re.compile(''.join(_FIELDS[p] if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _rename(key: str, names: Iterable[tuple[str, str]], back: bool = False) -> str | None:
    for pair in names:
        source, target = reversed(pair) if back else pair
        match = _pattern(source).fullmatch(key)
        if match:
            return _fill(target, match.groups())
    return None


def _fill(template: str, values: Iterable[str]) -> str:
    """The template with the values in place of its fields."""
    left = iter(values)
    return re.sub(r'\{\w\}', lambda _: next(left), template)


def flattened(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All entries but the training state, with dotted names."""
    for group, content in checkpoint.items():
        if group in _NETWORK_GROUPS and isinstance(content, Mapping):
            yield from content.items()
        elif group not in _TRAINING_STATE and isinstance(content, Mapping):
            names = (key for key in content if key != _UNFINISHED_CENTER)
            yield from ((f'{group}.{key}', content[key]) for key in names)
        elif group not in _TRAINING_STATE:
            yield group, content


def _our_name(key: str) -> str | None:
    group, _, rest = key.partition('.')
    if group in ('dino_loss', 'ibot_loss'):
        return _rename(rest, _CENTERS)
    key = (rest if group in ('student', 'teacher') else key).removeprefix('module.')
    key = _CHUNK.sub(r'\1blocks.', key)
    key = _PARAMETRIZED.sub(lambda match: _WEIGHT_NORM[int(match[1])], key)
    name = _rename(key, _NAMES) or _rename(f'backbone.{key}', _NAMES)
    return TEACHER + name if name and group == 'teacher' else name


def _unknown(weights: Mapping[str, Any], unmatched: Sequence[str], expected: str) -> str:
    return (
        f'{len(weights)} of {len(weights) + len(unmatched)} names are known, expected a checkpoint '
        f'{expected} with a ViT or a ResNet. The first unknown ones: '
        f'{", ".join(unmatched[:5]) or "the file is empty"}.'
    )


def _merge_shared_prototypes(weights: dict[str, Tensor]) -> list[str]:
    """Drop ``last_layer2`` if all networks use ``last_layer`` for the patches, too."""
    is_shared: dict[str, bool] = {}
    for name, value in weights.items():
        network, layer, kind = name.partition('last_layer2.')
        if layer:
            first = weights.get(f'{network}last_layer.{kind}')
            is_equal = first is not None and torch.equal(first, value)
            is_shared[network] = is_shared.get(network, True) and is_equal
    shared = [network for network, is_equal in is_shared.items() if is_equal]
    if not shared:
        return []
    if len(shared) < len(is_shared):
        return [
            f'{shared[0]}last_layer2 equals last_layer, while the other network has two different '
            'ones: set shared_head=False in the neck. Further training changes them separately.'
        ]
    for name in [name for name in weights if 'last_layer2.' in name]:
        del weights[name]
    return ['last_layer2 is last_layer under a second name: set shared_head=True in the neck.']
