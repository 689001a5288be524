"""Configs of DINO, iBOT and DINOv2, small enough for a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from mmpretrain.registry import MODELS, RUNNERS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from hvs_mm.models import HVSAlgorithm

#: Numbers of runs; an ``id`` comes again once its object is gone.
_NUMBERS = count()

PATCH = 8
#: Side of global and local crops: 4 x 4 and 2 x 2 patches.
GLOBAL, LOCAL = 32, 16
PROTOTYPES = 64
ARCH = {'embed_dims': 32, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 64}
TRANSFORMERS = {
    'DINO': 'VisionTransformer',
    'IBOT': 'MaskedVisionTransformer',
    'DINOv2': 'DINOv2VisionTransformer',
}
RESNET = {
    'type': 'ResNet',
    'depth': 18,
    'stem_channels': 8,
    'base_channels': 8,
    'norm_cfg': {'type': 'BN'},
}


def dino_config(
    name: str = 'DINO',
    num_crops: int = 4,
    drop_path: float = 0.0,
    backbone: dict[str, Any] | None = None,
    neck: dict[str, Any] | None = None,
    head: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Config of ``'DINO'``, ``'IBOT'`` or ``'DINOv2'`` with a transformer of two layers.

    Args:
        name: Name of the algorithm.
        num_crops: Views the student sees.
        drop_path: Rate of stochastic depth.
        backbone: Replaces the transformer if it has a ``type``, else changes it.
        neck: Changes of the neck.
        head: Changes of the head.
    """
    vit = {
        'type': TRANSFORMERS[name],
        'arch': ARCH,
        'img_size': GLOBAL,
        'patch_size': PATCH,
        'drop_path_rate': drop_path,
    }
    if name == 'DINO':
        vit['out_type'] = 'cls_token'
    backbone = backbone or {}
    return {
        'type': name,
        'backbone': backbone if 'type' in backbone else {**vit, **backbone},
        'neck': {
            'type': f'{name}Neck',
            'in_channels': ARCH['embed_dims'],
            'out_channels': PROTOTYPES,
            'hidden_channels': 32,
            'bottleneck_channels': 16,
            **(neck or {}),
        },
        'head': {
            'type': f'{name}Head',
            'out_channels': PROTOTYPES,
            'num_crops': num_crops,
            **(head or {}),
        },
    }


def shake(algorithm: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move student, teacher and centers apart, as if it had been trained."""
    with torch.no_grad():
        for parameter in algorithm.parameters():
            parameter += scale * torch.randn_like(parameter)
        for name in ('center', 'patch_center'):
            if hasattr(algorithm.head, name):
                center = getattr(algorithm.head, name)
                center.copy_(0.1 * torch.randn_like(center))
    return algorithm


def build_dino(name: str = 'DINO', **kwargs: Any) -> nn.Module:
    """A baseline whose teacher differs from its student."""
    return shake(MODELS.build(dino_config(name, **kwargs)))


def build_hvs_dino(
    name: str = 'DINO',
    candidates: Sequence[int] = (2, 2, 4),
    keep: Sequence[int] = (1, 1, 2),
    **kwargs: Any,
) -> HVSAlgorithm:
    return HVSAlgorithm(build_dino(name, num_crops=sum(keep), **kwargs), candidates, keep)


def crops(num_global: int, num_local: int = 0, batch_size: int = 3) -> list[Tensor]:
    sides = [GLOBAL] * num_global + [LOCAL] * num_local
    return [torch.randn(batch_size, 3, side, side) for side in sides]


def candidate_crops(counts: Sequence[int], batch_size: int = 3) -> list[Tensor]:
    """Views for ``candidates``: the first two groups are global, the third is local."""
    return crops(sum(counts[:2]), sum(counts[2:]), batch_size)


def random_masks(batch_size: int, num_global: int, share: float = 0.4) -> Tensor:
    """(B, T, h, w) masks of independent patches; the first view of the first sample has none."""
    side = GLOBAL // PATCH
    masks = torch.rand(batch_size, num_global, side, side) < share
    masks[0, 0] = False
    return masks


def samples_with(masks: Tensor) -> list[DataSample]:
    return [DataSample(metainfo={'view_masks': mask.numpy()}) for mask in masks]


def random_samples(batch_size: int, num_global: int) -> list[DataSample]:
    return samples_with(random_masks(batch_size, num_global))


@contextmanager
def epoch_of_run(epoch: int | None, max_epochs: int | None) -> Iterator[None]:
    """What MMEngine's ``MessageHub`` knows during an epoch of a run."""
    hub = MessageHub.get_current_instance()
    names = ('epoch', 'max_epochs')
    before = {name: hub.get_info(name) for name in names}
    for name, value in zip(names, (epoch, max_epochs)):
        hub.update_info(name, value)
    try:
        yield
    finally:
        for name in names:
            hub.update_info(name, before[name])


def crop_pipeline(side: int) -> list[dict[str, Any]]:
    return [{'type': 'RandomResizedCrop', 'scale': side, 'crop_ratio_range': (0.3, 1.0)}]


def build_runner(
    work_dir: Any,
    model: dict[str, Any],
    num_views: Sequence[int] = (2, 2),
    batch_size: int = 2,
    num_batches: int = 5,
    max_epochs: int = 2,
    hooks: Sequence[dict[str, Any]] = (),
    optim_wrapper: dict[str, Any] | None = None,
    **config: Any,
) -> Runner:
    """A real Runner on the built-in dataset.

    Args:
        work_dir: Where it writes.
        model: Config of the model.
        num_views: Global and local views per image.
        batch_size: Images per batch.
        num_batches: Batches per epoch.
        max_epochs: Length of the run.
        hooks: Custom hooks.
        optim_wrapper: Changes of the optimizer wrapper.
        **config: Further entries of the config.
    """
    sides = (GLOBAL, LOCAL)[: len(num_views)]
    pipeline = [
        {
            'type': 'CandidateViews',
            'num_views': list(num_views),
            'transforms': [crop_pipeline(side) for side in sides],
        },
        {'type': 'BlockMasks', 'patch_size': PATCH},
        {'type': 'PackViews'},
    ]
    config = {
        'default_scope': 'mmpretrain',
        'model': model,
        'data_preprocessor': {
            'type': 'SelfSupDataPreprocessor',
            'mean': [127.5] * 3,
            'std': [60.0] * 3,
        },
        'train_dataloader': {
            'batch_size': batch_size,
            'num_workers': 0,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'default_collate'},
            'dataset': {
                'type': 'ShapesDataset',
                'num_samples': batch_size * num_batches,
                'img_size': 48,
                'pipeline': pipeline,
            },
        },
        'train_cfg': {'by_epoch': True, 'max_epochs': max_epochs},
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.1},
            **(optim_wrapper or {}),
        },
        'custom_hooks': list(hooks),
        'default_hooks': {'checkpoint': None},
        'work_dir': str(work_dir),
        'log_level': 'ERROR',
        'randomness': {'seed': 0},
        **config,
    }
    # A name of its own, or the Runner would find the logs of the one before.
    return RUNNERS.build(Config({'experiment_name': f'run_{next(_NUMBERS)}', **config}))
