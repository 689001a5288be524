"""Backbones in the format that transformers reads: ``ViTModel`` and ``ResNetModel``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .timm_torchvision import RenamedBackbone
from .vit_names import rename, transformers_names

# Pairs of a pattern of torchvision's and timm's name and the replacement, as for `re.sub`.
_RESNET = (
    (r'^conv1\.', 'embedder.embedder.convolution.'),
    (r'^bn1\.', 'embedder.embedder.normalization.'),
    (r'\.downsample\.0\.', '.shortcut.convolution.'),
    (r'\.downsample\.1\.', '.shortcut.normalization.'),
    *((rf'\.conv{n}\.', f'.layer.{n - 1}.convolution.') for n in (1, 2, 3)),
    *((rf'\.bn{n}\.', f'.layer.{n - 1}.normalization.') for n in (1, 2, 3)),
    *((rf'^layer{n}\.(\d+)\.', rf'encoder.stages.{n - 1}.layers.\1.') for n in (1, 2, 3, 4)),
)
_BOTTLENECK_DEPTH = 50


def transformers_model(backbone: RenamedBackbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The content of ``config.json``, and the weights, of a backbone with timm's names.

    Raises:
        ValueError: If transformers has no such model.
    """
    settings = backbone.settings
    if 'depth' in settings and 'blocks' in settings:
        return _resnet(backbone)
    reasons = {
        'a layer scale': settings['init_values'],
        'registers': settings['reg_tokens'],
        'SwiGLU': settings['act_layer'] == 'silu',
        'images that are not square': isinstance(settings['img_size'], tuple)
        or backbone.model is None,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        raise ValueError(f'ViTModel of transformers has no {reason}. Use --style timm.')
    config = dict(
        architectures=['ViTModel'],
        model_type='vit',
        hidden_size=settings['embed_dim'],
        num_hidden_layers=settings['depth'],
        num_attention_heads=settings['num_heads'],
        intermediate_size=round(settings['embed_dim'] * settings['mlp_ratio']),
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-6,
        image_size=settings['img_size'],
        patch_size=settings['patch_size'],
        num_channels=settings['in_chans'],
        qkv_bias=settings['qkv_bias'],
    )
    return config, transformers_names(backbone.weights)


def image_processor(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``preprocessor_config.json``, from ``TrainedRun.preprocessing``."""
    height, width = preprocessing['size']
    edge = preprocessing['resize']
    size = {'height': height, 'width': width} if edge is None else {'shortest_edge': edge}
    return dict(
        image_processor_type='BitImageProcessor',
        do_convert_rgb=True,
        do_resize=True,
        size=size,
        resample={'bicubic': 3, 'bilinear': 2}.get(preprocessing['interpolation'], 2),
        do_center_crop=True,
        crop_size={'height': height, 'width': width},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=preprocessing['mean'],
        image_std=preprocessing['std'],
    )


def _resnet(backbone: RenamedBackbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if backbone.changes:
        raise ValueError(
            'ResNetModel of transformers has no stem for small images (3x3, without pooling). Use '
            '--style timm.'
        )
    is_deep = backbone.settings['depth'] >= _BOTTLENECK_DEPTH
    config = dict(
        architectures=['ResNetModel'],
        model_type='resnet',
        num_channels=3,
        embedding_size=64,
        hidden_sizes=[width * (4 if is_deep else 1) for width in (64, 128, 256, 512)],
        depths=list(backbone.settings['blocks']),
        layer_type='bottleneck' if is_deep else 'basic',
        hidden_act='relu',
        downsample_in_first_stage=False,
        downsample_in_bottleneck=False,
    )
    return config, {rename(name, _RESNET): value for name, value in backbone.weights.items()}
