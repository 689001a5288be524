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


#: Upstream's algorithms that have a pair loss, and VICReg.
METHODS = (
    *('SimSiam', 'SimCLR', 'BYOL', 'MoCoV3', 'MoCo', 'DenseCL', 'BarlowTwins', 'SwAV', 'VICReg'),
)
#: Where they keep their momentum network.
MOMENTUM = {
    'BYOL': 'target_net',
    'MoCoV3': 'momentum_encoder',
    'MoCo': 'encoder_k',
    'DenseCL': 'encoder_k',
}


def algorithm_config(name: str, norm: dict[str, Any] = BATCH_NORM, **backbone: Any) -> dict:
    """Config of one of :data:`METHODS` with a ResNet-18 of an eighth of its width."""
    widths = {'in_channels': 64, 'hid_channels': 32, 'out_channels': 16}
    neck = {'type': 'NonLinearNeck', **widths, 'norm_cfg': norm}
    predictor = {**neck, 'in_channels': 16, 'with_avg_pool': False, 'with_last_bn': False}
    cross_entropy = {'type': 'CrossEntropyLoss'}
    head: dict[str, Any] = {'type': 'ContrastiveHead', 'loss': cross_entropy, 'temperature': 0.1}
    settings: dict[str, Any] = {}
    if name in ('SimSiam', 'BYOL'):
        loss = {'type': 'CosineSimilarityLoss'}
        head = {'type': 'LatentPredictHead', 'loss': loss, 'predictor': predictor}
    elif name == 'MoCoV3':
        head = {**head, 'type': 'MoCoV3Head', 'predictor': predictor, 'temperature': 0.2}
    elif name in ('MoCo', 'DenseCL'):
        neck = {'type': 'MoCoV2Neck' if name == 'MoCo' else 'DenseCLNeck', **widths}
        # A multiple of all batch sizes of the tests.
        settings = {'queue_len': 48, 'feat_dim': 16}
    elif name == 'BarlowTwins':
        loss = {'type': 'CrossCorrelationLoss'}
        head = {'type': 'LatentCrossCorrelationHead', 'in_channels': 16, 'loss': loss}
    elif name == 'VICReg':
        head = {'type': 'VICRegHead'}
    elif name == 'SwAV':
        neck = {'type': 'SwAVNeck', **widths, 'norm_cfg': norm}
        loss = {'type': 'SwAVLoss', 'feat_dim': 16, 'num_prototypes': 24, 'num_crops': [2]}
        head = {'type': 'SwAVHead', 'loss': loss}
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
        **settings,
    }


def build_algorithm(name: str, norm: dict[str, Any] = BATCH_NORM, **backbone: Any) -> nn.Module:
    return MODELS.build(algorithm_config(name, norm, **backbone))


def build_hvs(name: str, norm: dict[str, Any] = BATCH_NORM, **kwargs: Any) -> HVSAlgorithm:
    kwargs = {'candidates': [4], 'keep': [2], **kwargs}
    return HVSAlgorithm(algorithm_config(name, norm), **kwargs)


def random_views(num_views: int = 4, batch_size: int = 3, size: int = 32) -> list[Tensor]:
    return [torch.randn(batch_size, 3, size, size) for _ in range(num_views)]


def move_momentum(algorithm: nn.Module, freeze: bool = False) -> None:
    """Make the momentum network differ from the online one, and with ``freeze`` keep it so.

    It is past its first update, which would copy the online network.
    """
    network = getattr(algorithm, MOMENTUM[type(algorithm).__name__])
    network.steps += 1
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    if freeze:
        network.momentum = network.end_momentum = 0
