"""The network of a backbone file, which a run from it has to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmpretrain.models import ResNet, VisionTransformer
from mmpretrain.models.backbones.resnet import Bottleneck
from torch import Tensor

from ..weights.architecture import count_modules, vit_architecture
from ..weights.checkpoint_files import load_checkpoint
from ..weights.input_channels import check_channels, first_convolution
from ..weights.pretrained_backbone import backbone_state
from .networks import NETWORKS, Network

_HEAD_WIDTH = 64
#: Heads of other published transformers by their widths: SO400M, giants, gigantic, DINOv3 7B.
_HEADS = {1152: 16, 1408: 16, 1536: 24, 1664: 16, 4096: 32}
_RGB = 3


def network_of_file(path: Path, channels: int = _RGB, trust: bool = False) -> tuple[str, Network]:
    """The network for the weights of a file, with its name in :data:`NETWORKS` or another one.

    ``channels`` are those of the images; the first convolution of an RGB file can be fit to them.
    ``trust`` reads the file even if it holds objects that can run code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no backbone of a known architecture.
    """
    option = f'--init {str(path)!r}'
    if not path.is_file():
        raise FileNotFoundError(f'{option}: there is no such checkpoint.')
    try:
        _, state = backbone_state(load_checkpoint(path, trust))
        arch = vit_architecture(state)
        if arch and 'cls_token' not in state:
            raise ValueError('it is a vision transformer without a [CLS] token, expected one with.')
        name, network = _vit(arch) if arch else _resnet(state)
        found = check_channels(state[first_convolution(state) or ''], channels)
        if found != channels:
            text = f'; its first convolution is fit from {found} channels to {channels}'
            network = replace(network, adapted=network.adapted + text)
        return name, network
    except ValueError as error:
        raise ValueError(f'{option}: {str(error).removeprefix(f"{path} ")}') from error


def _vit(arch: Mapping[str, Any]) -> tuple[str, Network]:
    is_swiglu = arch['feed-forward part'] == 'SwiGLU'
    sizes = dict(
        embed_dims=arch['width'],
        num_layers=arch['layers'],
        # SwiGLU has two thirds of them.
        feedforward_channels=arch['hidden units'] * 3 // 2 if is_swiglu else arch['hidden units'],
    )
    settings: dict[str, Any] = {'layer_scale_init_value': 1e-5 if arch['layer scale'] else 0.0}
    if not arch['qkv bias']:
        settings['qkv_bias'] = False
    is_rotary = arch['positions'] == 'rotary'
    # Its gates have other names than those of DINOv2.
    if is_rotary and not arch['hidden units']:
        raise ValueError(
            'it is a DINOv3 with SwiGLU blocks, which are not supported: take the ViT-S, B or L.'
        )
    if is_swiglu or is_rotary or arch['registers']:
        settings |= dict(
            type='DINOv3VisionTransformer' if is_rotary else 'DINOv2VisionTransformer',
            num_registers=arch['registers'],
            ffn='swiglu' if is_swiglu else 'mlp',
        )
    changes = dict(patch=arch['patch size'], settings=settings)
    for name, network in NETWORKS.items():
        if network.is_vit and _has_sizes(VisionTransformer.arch_zoo[network.arch], sizes):
            return name, replace(network, **changes)
    heads, is_known = _num_heads(sizes)
    guess = '' if is_known else f'; {heads} heads in a layer, a guess: the file does not tell'
    return f'vit-{arch["width"]}-{arch["layers"]}', Network(
        arch['width'], arch=dict(sizes, num_heads=heads), adapted=guess, **changes
    )


def _num_heads(sizes: Mapping[str, int]) -> tuple[int, bool]:
    """Heads of a layer, which no weight shows, and whether it is a transformer that is known."""
    for known in VisionTransformer.arch_zoo.values():
        if _has_sizes(known, sizes):
            return known['num_heads'], True
    if heads := _HEADS.get(sizes['embed_dims']):
        return heads, True
    if sizes['embed_dims'] % _HEAD_WIDTH:
        raise ValueError(
            f'its width is {sizes["embed_dims"]}, expected a multiple of {_HEAD_WIDTH}, the width '
            'of a head: the file does not tell the number of heads. Train a config of your own '
            'with PretrainedBackbone as init_cfg.'
        )
    return sizes['embed_dims'] // _HEAD_WIDTH, False


def _has_sizes(arch: Mapping[str, int], sizes: Mapping[str, int]) -> bool:
    return all(arch[key] == value for key, value in sizes.items())


def _resnet(state: Mapping[str, Tensor]) -> tuple[str, Network]:
    blocks = tuple(count_modules(state, f'layer{stage}') for stage in range(1, 5))
    is_deep = 'layer1.0.conv3.weight' in state
    first = state.get('layer1.0.conv2.weight')
    # Wide ones have more, those with groups fewer.
    is_plain = first is not None and first.shape[:2] == (64, 64) and 'conv1.weight' in state
    for depth, (block, known) in ResNet.arch_settings.items():
        if is_plain and known == blocks and (block is Bottleneck) == is_deep:
            is_small = state['conv1.weight'].shape[2:] == (3, 3)
            network = Network(2048 if is_deep else 512, depth=depth, small_stem=is_small)
            return f'resnet{depth}', network
    raise ValueError(
        'its architecture is unknown: expected a vision transformer, or a ResNet of depth '
        f'{", ".join(map(str, ResNet.arch_settings))} without a deep stem, groups or more width, '
        'of MMPretrain, timm, DINO, iBOT or DINOv2, or of DINOv3 in timm.'
    )
