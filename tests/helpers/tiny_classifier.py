"""Images in class folders, checkpoints and configs of classifiers, small enough for a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image
from torch import nn

from tests.helpers.tiny_dino import ARCH, RESNET

SIDE = 32
VIT = {'type': 'VisionTransformer', 'arch': ARCH, 'img_size': SIDE, 'patch_size': 8}


def randomize(module: nn.Module) -> nn.Module:
    """Give every weight and statistic of a module a value of its own."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value += 0.01 + 0.1 * torch.rand_like(value)
    return module


def build_backbone(config: dict[str, Any]) -> nn.Module:
    return randomize(MODELS.build(config))


def save_backbone(path: Path, backbone: nn.Module, prefix: str = 'backbone.') -> str:
    """A checkpoint as a training run writes it, with a head that is of no use elsewhere."""
    state = {f'{prefix}{name}': value for name, value in backbone.state_dict().items()}
    torch.save({'state_dict': {**state, 'head.fc.weight': torch.ones(2, 3)}, 'meta': {}}, path)
    return str(path)


def write_image(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_folders(root: Path, classes: Sequence[str] = ('cat', 'dog'), images: int = 4) -> Path:
    """``root/train`` and ``root/val``, each with a folder of images for every class."""
    for split in ('train', 'val'):
        for label, name in enumerate(classes):
            for number in range(images):
                write_image(root / split / name / f'{number}.png', 10 * label + number)
    return root


def classifier_config(
    root: Path, checkpoint: str | None = None, backbone: dict[str, Any] = RESNET, **extra: Any
) -> Config:
    """A classifier of two classes that starts from a pretrained backbone."""

    def loader(split: str, shuffle: bool) -> dict[str, Any]:
        return dict(
            batch_size=4,
            num_workers=0,
            persistent_workers=False,
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            collate_fn=dict(type='default_collate'),
            dataset=dict(
                type='CustomDataset',
                data_root=str(root),
                data_prefix=split,
                pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
            ),
        )

    init = dict(type='PretrainedBackbone', checkpoint=checkpoint)
    return Config(
        dict(
            default_scope='mmpretrain',
            custom_imports=dict(imports=['hvs_mm']),
            model=dict(
                type='ImageClassifier',
                backbone=dict(backbone, init_cfg=init),
                neck=dict(type='GlobalAveragePooling') if backbone['type'] == 'ResNet' else None,
                head=dict(
                    type='LinearClsHead',
                    num_classes=2,
                    in_channels=64 if backbone['type'] == 'ResNet' else ARCH['embed_dims'],
                ),
            ),
            data_preprocessor=dict(num_classes=2, mean=[127.5] * 3, std=[60.0] * 3),
            train_dataloader=loader('train', True),
            val_dataloader=loader('val', False),
            test_dataloader=loader('val', False),
            val_evaluator=dict(type='Accuracy', topk=1),
            test_evaluator=dict(type='Accuracy', topk=1),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            log_level='INFO',
            randomness=dict(seed=0),
            **extra,
        )
    )
