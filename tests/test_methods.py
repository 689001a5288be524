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
#: Upstream's network, an eighth as wide, which no demo has.
BYOL = [
    'model.algorithm.backbone.depth=18',
    'model.algorithm.backbone.stem_channels=8',
    'model.algorithm.backbone.base_channels=8',
    'model.algorithm.neck.in_channels=64',
    'model.algorithm.neck.hid_channels=32',
    'model.algorithm.neck.out_channels=16',
    'model.algorithm.head.predictor.in_channels=16',
    'model.algorithm.head.predictor.hid_channels=32',
    'model.algorithm.head.predictor.out_channels=16',
    'train_dataloader.dataset.with_label=False',
    'train_dataloader.dataset.data_root={data}',
]


@pytest.mark.parametrize(
    ('config', 'options', 'parts'),
    [
        ('demo/hvs_simsiam', DEMO, {'backbone', 'neck', 'head'}),
        ('demo/hvs_simclr', DEMO, {'backbone', 'neck'}),
        ('hvs_byol_200e', BYOL, {'backbone', 'neck', 'head', 'target_net'}),
        ('demo/hvs_dino', DEMO, {'backbone', 'neck', 'head', 'teacher'}),
        ('demo/hvs_ibot', DEMO, {'backbone', 'neck', 'head', 'teacher'}),
    ],
)
def test_a_run(tmp_path: Path, config: str, options: list[str], parts: set[str]) -> None:
    if config == 'hvs_byol_200e':
        write(tmp_path / 'data/train/all', plain_images(IMAGES))
    options = [option.format(data=tmp_path / 'data') for option in (*OPTIONS, *options)]
    path, work_dir = ROOT / 'configs' / f'{config}.py', tmp_path / 'run'
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
