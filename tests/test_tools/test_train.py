"""``tools/train.py`` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DEMO = 'configs/demo/hvs_simsiam.py'
DINO_DEMO = 'configs/demo/hvs_dino.py'
IBOT_DEMO = 'configs/demo/hvs_ibot.py'
SMALL = [
    'train_dataloader.dataset.num_samples=32',
    'train_dataloader.batch_size=8',
    'train_cfg.max_epochs=1',
    'default_hooks.logger.interval=1',
]


def run(*command, **environment):
    # Every process has the machine to itself otherwise, and they slow each other down.
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **environment}
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=env, capture_output=True, text=True
    )


def train(*arguments, **environment):
    return run(sys.executable, 'tools/train.py', *arguments, **environment)


def scalars(work_dir):
    """The training log, one dict per logged iteration."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(work_dir, epoch):
    return torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


def test_a_run_from_config_to_checkpoint(tmp_path):
    process = train(DEMO, '--work-dir', tmp_path, '--cfg-options', *SMALL)
    assert process.returncode == 0, process.stderr
    log = scalars(tmp_path)
    assert len(log) == 4
    for entry in log:
        assert entry['hvs_score'] >= entry['hvs_score_mean']
        shares = [value for key, value in entry.items() if key.startswith('hvs_kept_')]
        assert len(shares) == 6
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert 'hvs_score: ' in process.stdout
    assert {key.split('.')[0] for key in weights(tmp_path, 1)} == {'backbone', 'neck', 'head'}


def test_amp_on_the_cpu_is_bfloat16(tmp_path):
    process = train(
        DEMO, '--amp', '--work-dir', tmp_path, '--cfg-options', *SMALL, CUDA_VISIBLE_DEVICES='-1'
    )
    assert process.returncode == 0, process.stderr
    assert 'AutocastOptimWrapper' in (tmp_path / 'hvs_simsiam.py').read_text()
    assert len(scalars(tmp_path)) == 4


def test_two_processes_on_the_cpu(tmp_path):
    process = run(
        'bash', 'tools/dist_train.sh', DEMO, 2, '--work-dir', tmp_path, '--cfg-options', *SMALL,
        PORT='29517', PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    # 32 images in batches of 8 on 2 processes.
    assert len(scalars(tmp_path)) == 2
    assert 'SyncBN runs only on GPUs' in process.stdout + process.stderr
    assert re.search(r'Distributed launcher: pytorch', process.stdout)


def test_resume_goes_on_as_if_there_had_been_no_stop(tmp_path):
    # Workers are started, and seeded, anew in every epoch: the data do not depend on the stop.
    options = [
        *SMALL,
        'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=False',
        'default_hooks.checkpoint.interval=1',
    ]

    def go(folder, epochs, *flags):
        overrides = [*options, f'train_cfg.max_epochs={epochs}']
        process = train(DEMO, '--work-dir', folder, *flags, '--cfg-options', *overrides)
        assert process.returncode == 0, process.stderr

    go(tmp_path / 'whole', 2)
    go(tmp_path / 'parts', 1)
    go(tmp_path / 'parts', 2, '--resume')
    whole, parts = weights(tmp_path / 'whole', 2), weights(tmp_path / 'parts', 2)
    first = weights(tmp_path / 'whole', 1)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name
    assert any(not torch.equal(value, first[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['configs/nothing.py'], "config 'configs/nothing.py' does not exist"),
        (['configs/hvs_simsiam_100e.py'], "'data/imagenet/' does not exist"),
        ([DEMO, '--cfg-options', 'model.keep=[5]'], 'keeps 5 views of group 0'),
        ([DEMO, '--cfg-options', 'model.kept=[2]'], "did you mean 'keep'"),
        ([DEMO, '--cfg-options', 'model.algorithm.type=BarlowTwins'], 'has no pair loss'),
        ([DEMO, '--resume', 'nothing.pth'], 'no such checkpoint'),
        ([DEMO, '--auto-scale-lr'], 'auto_scale_lr'),
        ([DEMO, '--cfg-options', 'train_dataloader.batch_size=1'], 'batch size 1 with BatchNorm'),
        (
            [DINO_DEMO, '--cfg-options', 'model.algorithm.head.warmup_teacher_temp_epochs=9'],
            'warms up for 9 epochs, but the run has max_epochs=8',
        ),
        ([DINO_DEMO, '--cfg-options', 'model.keep=[1,1,3]'], 'the head is for num_crops=6'),
        (
            [IBOT_DEMO, '--cfg-options', 'train_dataloader.dataset.pipeline.1.ratio=[0.0,1.0]'],
            'all shares must lie in [0, 1)',
        ),
        (
            [IBOT_DEMO, '--cfg-options', 'model.algorithm.neck.out_channels=128'],
            'the neck has out_channels=128, the head out_channels=256',
        ),
        (
            [DEMO, '--cfg-options', 'train_dataloader.dataset.pipeline.0.num_views=[3]'],
            'the loader gives 3 views per image, but candidates=[4] needs 4',
        ),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(tmp_path, arguments, message):
    process = train(*arguments[:1], '--work-dir', tmp_path / 'run', *arguments[1:])
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert message in last
    assert 'Traceback' not in process.stderr
    assert not (tmp_path / 'run').exists()


def test_the_batch_size_scales_the_learning_rate(tmp_path):
    process = train(
        DEMO, '--auto-scale-lr', '--work-dir', tmp_path, '--cfg-options', *SMALL,
        'auto_scale_lr.base_batch_size=16',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert scalars(tmp_path)[0]['lr'] == pytest.approx(0.1 * 8 / 16)


def test_pixels_that_are_not_finite(tmp_path):
    process = train(
        DEMO, '--work-dir', tmp_path, '--cfg-options', *SMALL, 'data_preprocessor.std=[0,0,0]'
    )
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1].startswith('error: ')
    assert 'NaN or infinite pixels' in process.stderr
    assert not list(tmp_path.glob('*.pth'))


def test_mim_runs_the_config(tmp_path):
    mim = Path(sys.executable).with_name('mim')
    if not mim.exists():
        pytest.skip('runs on the OneDL stack: openmim needs a setuptools that torch refuses')
    process = run(
        mim, 'train', 'onedl-mmpretrain', DEMO, '--gpus', '0', '--work-dir', tmp_path,
        '--cfg-options', *SMALL,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(scalars(tmp_path)) == 4
