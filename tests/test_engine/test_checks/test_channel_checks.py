"""Runs that do not fit images of other kinds than 8-bit RGB."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from hvs_mm.engine.checks.channel_checks import check_channels
from tests.helpers.channel_images import folder_of, noise

JITTER = dict(type='RandomApply', prob=0.8, transforms=[dict(type='ColorJitter', brightness=0.4)])
PIPELINE = 'train_dataloader.dataset.pipeline'
VIEW = f'{PIPELINE}.1.transforms.0'
IMAGENET = dict(mean=[123.675, 116.28, 103.53, 110], std=[58.395, 57.12, 57.375, 57])


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    """4 channels of 16 bits, of which 12 are in use."""
    images = [noise(4, seed=seed) >> 4 for seed in range(4)]
    view = [dict(type='RandomResizedCrop', scale=16, backend='pillow'), JITTER]
    steps = [
        dict(type='LoadChannels', channels=4, bits=16),
        dict(type='CandidateViews', num_views=[2], transforms=[view]),
        dict(type='PackViews'),
    ]
    folder = folder_of(tmp_path_factory.mktemp('images'), images, '{}.tif')
    dataset = dict(type='CustomDataset', data_root=str(folder), with_label=False, pipeline=steps)
    statistics = dict(mean=[2047.5] * 4, std=[1182.0] * 4)
    evaluation = [dict(steps[0], bad_images='error'), dict(type='PackInputs')]
    return Config(dict(
        knn_pipeline=evaluation,
        data_preprocessor=dict(type='ChannelPreprocessor', **statistics),
        train_dataloader=dict(dataset=dataset),
    ))  # fmt: skip


def check(cfg, changes, channels=4):
    cfg = deepcopy(cfg)
    cfg.merge_from_dict(changes, allow_list_keys=True)
    backbone = nn.Module()
    backbone.conv1 = nn.Conv2d(channels, 1, 1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        check_channels(cfg, SimpleNamespace(backbone=backbone))


def test_what_fits(cfg):
    check(cfg, {})
    # Not exactly those of the images, as of a larger collection.
    check(cfg, {'data_preprocessor.mean': [1200.0] * 4})


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(data_preprocessor=IMAGENET),
     r'mean=110 and std=57 of channel 4 are not those of the images, which have 20\d\d and 1'),
    ({'data_preprocessor.mean': [1.0]}, 'mean has 1 numbers, but the images have 4 channels'),
    ({'data_preprocessor.type': 'SelfSupDataPreprocessor'},
     "type='SelfSupDataPreprocessor' is for 8-bit RGB"),
    ({f'{PIPELINE}.1.photometry': 'device'}, "photometry='device' needs 8-bit RGB"),
    ({f'{VIEW}.0.backend': 'cv2'}, 'RandomResizedCrop needs 8-bit RGB'),
    ({f'{VIEW}.1.transforms.0.hue': 0.1},
     r'transforms\.0\.1\.transforms\.0: ColorJitter with hue=0\.1 needs 8-bit RGB images \(set'),
    ({f'{VIEW}.1.transforms.0.type': 'RandomGrayscale'}, 'RandomGrayscale needs 8-bit RGB'),
    ({f'{VIEW}.1.transforms.0.type': 'Solarize'}, 'Solarize needs 8-bit RGB'),
    ({'knn_pipeline': []}, r"knn_pipeline must begin with dict\(type='LoadChannels', channels=4"),
    ({'knn_pipeline.0.bits': 8}, 'knn_pipeline must begin .* not with'),
    ({'knn_pipeline.1.type': 'ResizeEdge'}, r'knn_pipeline\.1: ResizeEdge needs 8-bit RGB'),
])  # fmt: skip
def test_what_does_not(cfg, changes, message):
    with pytest.raises(ValueError, match=message) as raised:
        check(cfg, changes)
    assert '\n' not in str(raised.value)


def test_a_backbone_for_others(cfg):
    with pytest.raises(ValueError, match=r'channels=4, but the backbone is for images of 3 .* set'):
        check(cfg, {}, channels=3)
