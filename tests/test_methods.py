"""Short runs of every method, whole and stopped, from its config to a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmpretrain.registry import MODELS

from hvs_mm.engine import Preempted, build_runner
from tests.helpers.hostile_images import plain_images, write
from tests.helpers.tar_shards import write_shards
from tests.helpers.tools import ROOT, load_tool, run_tool

IMAGES, BATCH = 16, 4
OPTIONS = [
    f'train_dataloader.batch_size={BATCH}',
    'train_dataloader.num_workers=0',
    'default_hooks.checkpoint.interval=1',
    'default_hooks.logger.interval=1',
]
# To draw it takes longer than all the rest.
DEMO = ['default_hooks.panel=None']


def small_network(*widths: str) -> list[str]:
    """Upstream's ResNet, an eighth as wide."""
    return [
        'model.algorithm.backbone.depth=18',
        'model.algorithm.backbone.stem_channels=8',
        'model.algorithm.backbone.base_channels=8',
        'model.algorithm.neck.in_channels=64',
        'model.algorithm.neck.hid_channels=32',
        'model.algorithm.neck.out_channels=16',
        *(f'model.algorithm.{width}' for width in widths),
    ]


PREDICTOR = [
    f'head.predictor.{name}' for name in ('in_channels=16', 'hid_channels=32', 'out_channels=16')
]
QUEUE = ['queue_len=16', 'feat_dim=16']
KEYS = {'queue', 'queue_ptr'}
SWAV = ['head.loss.feat_dim=16', 'head.loss.num_prototypes=24']
# Upstream's hook counts its iterations, and knows the width.
SWAV_HOOK = ['custom_hooks.0.batch_size=4', 'custom_hooks.0.feat_dim=16',
             'custom_hooks.0.queue_length=8', 'custom_hooks.0.epoch_queue_starts=0',
             'custom_hooks.0.frozen_layers_cfg.prototypes=2']  # fmt: skip
#: Upstream trains MoCo v3 in float16, which only a GPU can.
FLOAT32 = (
    "optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))"
)


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of a config that runs here."""
    path = ROOT / 'configs' / f'{request.param}.py'
    if 'mocov3' not in request.param:
        return path
    child = tmp_path / path.name
    child.write_text(f'_base_ = {str(path)!r}\n{FLOAT32}\n')
    return child


ONLINE = {'backbone', 'neck', 'head'}
RUNS: dict[str, tuple[list[str], set[str]]] = {
    'demo/hvs_simsiam': (DEMO, ONLINE),
    'demo/hvs_simclr': (DEMO, {'backbone', 'neck'}),
    'demo/hvs_dino': (DEMO, {*ONLINE, 'teacher'}),
    'demo/hvs_ibot': (DEMO, {*ONLINE, 'teacher'}),
    'demo/hvs_dinov2': (DEMO, {*ONLINE, 'teacher'}),
    'hvs_byol_200e': (small_network(*PREDICTOR), {*ONLINE, 'target_net'}),
    'hvs_mocov2_200e': (small_network(*QUEUE), {'backbone', 'neck', 'encoder_k', *KEYS}),
    'hvs_mocov3_resnet50_100e': (small_network(*PREDICTOR), {*ONLINE, 'momentum_encoder'}),
    'hvs_barlowtwins_300e': (small_network('head.in_channels=16'), ONLINE),
    'hvs_vicreg_100e': (small_network(), {'backbone', 'neck'}),
    'hvs_swav_200e': ([*small_network(*SWAV), *SWAV_HOOK], ONLINE),
    'hvs_densecl_200e': (
        small_network(*QUEUE),
        {'backbone', 'neck', 'encoder_k', *KEYS, 'queue2', 'queue2_ptr'},
    ),
}
#: One code runs all of upstream's methods; these have the most of their own.
QUICK = {
    'demo/hvs_simsiam', 'demo/hvs_simclr', 'demo/hvs_dino', 'demo/hvs_ibot', 'hvs_byol_200e',
    'hvs_mocov2_200e',
}  # fmt: skip


@pytest.mark.parametrize(
    ('config', 'options', 'parts'),
    [
        pytest.param(name, *run, marks=[] if name in QUICK else pytest.mark.slow)
        for name, run in RUNS.items()
    ],
    ids=RUNS,
    indirect=['config'],
)
def test_a_run(tmp_path: Path, config: Path, options: list[str], parts: set[str]) -> None:
    data, work_dir = tmp_path / 'data', tmp_path / 'run'
    write(data, plain_images(IMAGES))
    options = [*OPTIONS, 'train_cfg.max_epochs=1', *options]
    process = run_tool(
        'train', config, '--data', data, '--work-dir', work_dir, '--cfg-options', *options
    )
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
    cfg = Config.fromfile(work_dir / config.name)
    baseline = MODELS.build({**cfg.model.algorithm, 'data_preprocessor': cfg.data_preprocessor})
    baseline.load_state_dict(weights)


class Stop(Hook):
    """Sends this process SIGTERM in the middle of an iteration."""

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 5:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['folder', 'shards'])
@pytest.mark.parametrize(
    ('config', 'options'),
    [(name, options) for name, (options, _) in RUNS.items()],
    ids=RUNS,
    indirect=['config'],
)
def test_a_stopped_run_ends_as_if_it_had_not_been(
    tmp_path: Path, config: Path, options: list[str], kind: str
) -> None:
    """Bit for bit, in the middle of the second epoch of two, from class folders and tar shards."""
    images = plain_images(IMAGES)
    data = tmp_path / 'data'
    if kind == 'folder':
        write(data, images)
    else:
        write_shards(data, list(images.values()), 4, kind='jpg')
        data = data / 'x-{000..003}.tar'

    def train(name: str, *arguments: str, stop: bool = False) -> dict[str, Any] | None:
        tool, work_dir = load_tool('train'), tmp_path / name
        named = f'experiment_name={uuid.uuid4().hex}'
        seed = 'randomness.seed=0'
        args = tool.parse_args([
            str(config), '--data', str(data), '--work-dir', str(work_dir), *arguments,
            '--cfg-options', *OPTIONS, 'train_cfg.max_epochs=2', named, seed,
            *options,
        ])  # fmt: skip
        runner = build_runner(tool.load_config(args))
        if stop:
            runner.register_hook(Stop())
            with pytest.raises(Preempted):
                runner.train()
            return None
        runner.train()
        return torch.load(work_dir / 'epoch_2.pth', weights_only=False)

    whole = train('whole')
    train('stopped', stop=True)
    assert not (tmp_path / 'stopped' / 'epoch_2.pth').exists()
    resumed = train('stopped', '--resume')
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0)
    assert resumed['param_schedulers'] == whole['param_schedulers']
