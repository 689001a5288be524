"""``tools/train.py`` on a folder with broken files, as a user runs it."""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.hostile_images import bad_images, good_images, plain_images, write
from tests.helpers.tools import run_tool

CONFIG = 'configs/cifar10/hvs_simsiam_resnet18.py'


def train(work_dir, data, *options):
    # The network is ImageNet's: an eighth of its width trains in seconds.
    return run_tool(
        'train', CONFIG, '--work-dir', work_dir, '--cfg-options',
        f'train_dataloader.dataset.data_root={data}', 'train_dataloader.batch_size=8',
        'train_dataloader.num_workers=2', 'default_hooks.logger.interval=1',
        'model.algorithm.backbone.stem_channels=8', 'model.algorithm.backbone.base_channels=8',
        'model.algorithm.neck.in_channels=64', 'model.algorithm.neck.hid_channels=32',
        'model.algorithm.neck.out_channels=32', 'model.algorithm.head.predictor.in_channels=32',
        'model.algorithm.head.predictor.hid_channels=16',
        'model.algorithm.head.predictor.out_channels=32', *options,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """Good files of every kind that CustomDataset lists, and plain ones, in a class folder."""
    folder = tmp_path / 'data/train/all'
    odd = {name: content for name, content in good_images().items() if '.webp' not in name}
    write(folder, {**plain_images(60), **odd})
    return folder


def test_a_run_with_a_few(tmp_path, data):
    broken = {name: content for name, (content, _) in bad_images().items() if '.webp' not in name}
    paths = write(data, broken)
    whole = len(list(data.iterdir()))
    share = len(broken) / whole
    process = train(
        tmp_path / 'run', tmp_path / 'data', 'train_cfg.max_epochs=1',
        f'default_hooks.bad_images.max_share={share}',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'run/epoch_1.pth').exists()
    (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == whole // 8
    assert all(-1 <= loss <= 1 for loss in losses)
    # The last ones that were skipped may have been so for a batch that drop_last left out.
    warned = re.findall(r'bad image \d+, skipped: (\S+): ', process.stdout + process.stderr)
    assert len(set(warned)) == len(warned)
    assert set(warned) <= set(paths)
    assert len(warned) >= len(paths) - 8
    assert [line['bad_images'] for line in lines if 'bad_images' in line][-1] == len(warned)


def test_a_run_with_too_many(tmp_path, data):
    write(data, {f'bad{number}.jpg': b'no image' for number in range(9)})
    process = train(tmp_path / 'run', tmp_path / 'data', 'train_cfg.max_epochs=9')
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert re.match(r'error: \d+ of \d+ training images are bad, more than max_share=0\.01', last)
    assert 'bad' in re.search(r'The last: (\S+)', last)[1]
    assert 'Traceback' not in process.stderr
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_a_run_without_a_good_one(tmp_path):
    write(tmp_path / 'data/train/all', {f'{number}.jpg': b'' for number in range(20)})
    process = train(tmp_path / 'run', tmp_path / 'data')
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith('error: 100 bad images one after the other')
    assert last.count('the file is empty') == 5
    assert 'Traceback' not in process.stderr
