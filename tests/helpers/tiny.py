"""Configs of the supported algorithms, small enough for a test."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from hvs_mm.models import HVSAlgorithm

BATCH_NORM = {'type': 'SyncBN'}
#: Independent of the other samples of a batch: makes the loss of one sample well defined.
GROUP_NORM = {'type': 'GN', 'num_groups': 2}


def algorithm_config(name: str, norm: dict[str, Any] = BATCH_NORM, **backbone: Any) -> dict:
    """Config of SimSiam, SimCLR or BYOL with a ResNet-18 of an eighth of its width."""
    neck = {
        'type': 'NonLinearNeck',
        'in_channels': 64,
        'hid_channels': 32,
        'out_channels': 16,
        'norm_cfg': norm,
    }
    if name == 'SimCLR':
        head = {
            'type': 'ContrastiveHead',
            'loss': {'type': 'CrossEntropyLoss'},
            'temperature': 0.1,
        }
    else:
        predictor = {**neck, 'in_channels': 16, 'with_avg_pool': False, 'with_last_bn': False}
        head = {
            'type': 'LatentPredictHead',
            'loss': {'type': 'CosineSimilarityLoss'},
            'predictor': predictor,
        }
    return {
        'type': name,
        'backbone': {
            'type': 'ResNet',
            'depth': 18,
            'stem_channels': 8,
            'base_channels': 8,
            'norm_cfg': norm,
            **backbone,
        },
        'neck': neck,
        'head': head,
    }


def build_algorithm(name: str, norm: dict[str, Any] = BATCH_NORM, **backbone: Any) -> nn.Module:
    return MODELS.build(algorithm_config(name, norm, **backbone))


def build_hvs(name: str, norm: dict[str, Any] = BATCH_NORM, **kwargs: Any) -> HVSAlgorithm:
    kwargs = {'candidates': [4], 'keep': [2], **kwargs}
    return HVSAlgorithm(algorithm_config(name, norm), **kwargs)


def random_views(num_views: int = 4, batch_size: int = 3, size: int = 32) -> list[Tensor]:
    return [torch.randn(batch_size, 3, size, size) for _ in range(num_views)]
