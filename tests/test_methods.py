"""A short run of every method, from its config to a checkpoint that the baseline reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from tests.helpers.hostile_images import plain_images, write
from tests.helpers.tools import ROOT, run_tool

IMAGES, BATCH = 16, 4
OPTIONS = [
    f'train_dataloader.batch_size={BATCH}',
    'train_dataloader.num_workers=0',
    'train_cfg.max_epochs=1',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.logger.interval=1',
]
DEMO = [
    f'train_dataloader.dataset.num_samples={IMAGES}',
    # To draw it takes longer than all the rest.
    'default_hooks.panel=None',
]


def small_network(*widths: str) -> list[str]:
    """Upstream's ResNet, an eighth as wide, with the images of the folder, which no demo has."""
    return [
        'model.algorithm.backbone.depth=18',
        'model.algorithm.backbone.stem_channels=8',
        'model.algorithm.backbone.base_channels=8',
        'model.algorithm.neck.in_channels=64',
        'model.algorithm.neck.hid_channels=32',
        'model.algorithm.neck.out_channels=16',
        *(f'model.algorithm.{width}' for width in widths),
        'train_dataloader.dataset.with_label=False',
        'train_dataloader.dataset.data_root={data}',
    ]


PREDICTOR = [
    f'head.predictor.{name}' for name in ('in_channels=16', 'hid_channels=32', 'out_channels=16')
]
QUEUE = ['queue_len=16', 'feat_dim=16']
SWAV = ['head.loss.feat_dim=16', 'head.loss.num_prototypes=24']
# Upstream's hook counts its iterations, and knows the width.
SWAV_HOOK = ['custom_hooks.0.batch_size=4', 'custom_hooks.0.feat_dim=16',
             'custom_hooks.0.queue_length=8', 'custom_hooks.0.epoch_queue_starts=0',
             'custom_hooks.0.frozen_layers_cfg.prototypes=2']  # fmt: skip
#: Upstream trains MoCo v3 in float16, which only a GPU can.
FLOAT32 = (
    "optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))"
)


@pytest.mark.parametrize(
    ('config', 'options', 'parts'),
    [
        ('demo/hvs_simsiam', DEMO, {'backbone', 'neck', 'head'}),
        ('demo/hvs_simclr', DEMO, {'backbone', 'neck'}),
        ('hvs_byol_200e', small_network(*PREDICTOR), {'backbone', 'neck', 'head', 'target_net'}),
        pytest.param(
            'hvs_mocov3_resnet50_100e',
            small_network(*PREDICTOR),
            {'backbone', 'neck', 'head', 'momentum_encoder'},
            marks=pytest.mark.slow,
        ),
        (
            'hvs_mocov2_200e',
            small_network(*QUEUE),
            {'backbone', 'neck', 'encoder_k', 'queue', 'queue_ptr'},
        ),
        pytest.param(
            'hvs_barlowtwins_300e',
            small_network('head.in_channels=16'),
            {'backbone', 'neck', 'head'},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'hvs_vicreg_100e',
            small_network(),
            {'backbone', 'neck'},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'hvs_swav_200e',
            [*small_network(*SWAV), *SWAV_HOOK, 'train_dataloader.dataset.ann_file='],
            {'backbone', 'neck', 'head'},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'hvs_densecl_200e',
            small_network(*QUEUE),
            {'backbone', 'neck', 'encoder_k', 'queue', 'queue_ptr', 'queue2', 'queue2_ptr'},
            marks=pytest.mark.slow,
        ),
        ('demo/hvs_dino', DEMO, {'backbone', 'neck', 'head', 'teacher'}),
        ('demo/hvs_ibot', DEMO, {'backbone', 'neck', 'head', 'teacher'}),
    ],
)
def test_a_run(tmp_path: Path, config: str, options: list[str], parts: set[str]) -> None:
    if not config.startswith('demo/'):
        write(tmp_path / 'data/train/all', plain_images(IMAGES))
    options = [option.format(data=tmp_path / 'data') for option in (*OPTIONS, *options)]
    path, work_dir = ROOT / 'configs' / f'{config}.py', tmp_path / 'run'
    if 'mocov3' in config:
        child = tmp_path / path.name
        child.write_text(f'_base_ = {str(path)!r}\n{FLOAT32}\n')
        path = child
    process = run_tool('train', path, '--work-dir', work_dir, '--cfg-options', *options)
    assert process.returncode == 0, process.stderr

    (log,) = work_dir.glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    entries = [entry for entry in entries if 'loss' in entry]
    assert len(entries) == IMAGES // BATCH
    for entry in entries:
        assert abs(entry['loss']) < 100
        assert entry['hvs_score'] >= entry['hvs_score_mean']

    weights = torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']
    assert {name.split('.')[0] for name in weights} == parts
    cfg = Config.fromfile(work_dir / path.name)
    baseline = MODELS.build({**cfg.model.algorithm, 'data_preprocessor': cfg.data_preprocessor})
    baseline.load_state_dict(weights)
