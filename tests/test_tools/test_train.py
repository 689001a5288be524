"""``tools/train.py`` as a user runs it, though mostly in this process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import mmpretrain
import pytest
import torch

from tests.helpers.tiny_classifier import (
    build_backbone,
    classifier_config,
    save_backbone,
    write_folders,
)
from tests.helpers.tiny_dino import RESNET
from tests.helpers.tools import load_tool, run_tool

ROOT = Path(__file__).parents[2]
DEMO = 'configs/demo/hvs_simsiam.py'
DINO_DEMO = 'configs/demo/hvs_dino.py'
IBOT_DEMO = 'configs/demo/hvs_ibot.py'
FIRST_CROP = 'train_dataloader.dataset.pipeline.0.transforms.0.0'
SMALL = [
    'train_dataloader.dataset.num_samples=32',
    'train_dataloader.batch_size=8',
    'train_cfg.max_epochs=1',
    'default_hooks.logger.interval=1',
    # Seconds of every run, as are workers.
    'train_dataloader.num_workers=0',
    'default_hooks.panel=None',
]


def run(*command, **environment):
    # Every process has the machine to itself otherwise, and they slow each other down.
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), **environment}
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=env, capture_output=True, text=True
    )


def train(work_dir, *arguments, options=()):
    """Train in this process and return what is logged."""
    # The loggers of one process are told apart by the names of their experiments.
    options = [f'experiment_name={work_dir.name}_{uuid.uuid4().hex}', *options]
    command = [*arguments, '--work-dir', work_dir, '--cfg-options', *options]
    load_tool('train').main([str(part) for part in command])
    return max(work_dir.glob('*/*.log')).read_text()


@pytest.fixture(autouse=True)
def _from_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def scalars(work_dir):
    """The training log, one dict per logged iteration."""
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


def weights(work_dir, epoch):
    return torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


def test_a_run_from_config_to_checkpoint(tmp_path):
    text = train(tmp_path, DEMO, options=[*SMALL[:-1], 'default_hooks.panel.num_images=1'])
    log = scalars(tmp_path)
    assert len(log) == 4
    for entry in log:
        assert entry['hvs_score'] >= entry['hvs_score_mean']
        shares = [value for key, value in entry.items() if key.startswith('hvs_kept_')]
        assert len(shares) == 6
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert 'hvs_score: ' in text
    assert (tmp_path / 'selection' / 'epoch_1.png').is_file()
    assert {key.split('.')[0] for key in weights(tmp_path, 1)} == {'backbone', 'neck', 'head'}


def test_amp_on_the_cpu_is_bfloat16(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('mmengine.device.utils.DEVICE', 'cpu')
    train(tmp_path, DEMO, '--amp', options=SMALL)
    assert 'AutocastOptimWrapper' in (tmp_path / 'hvs_simsiam.py').read_text()
    assert len(scalars(tmp_path)) == 4


@pytest.mark.slow
def test_two_processes_on_the_cpu(tmp_path):
    process = run(
        'bash', 'tools/dist_train.sh', DEMO, 2, '--verbose', '--work-dir', tmp_path,
        '--cfg-options', *SMALL,
        PORT='29517', PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    # 32 images in batches of 8 on 2 processes.
    assert len(scalars(tmp_path)) == 2
    assert 'SyncBN runs only on GPUs' in process.stdout + process.stderr
    assert re.search(r'Distributed launcher: pytorch', process.stdout)
    # Only the first process prints.
    for text in ('no GPU found: training on the CPU, 2 processes with', 'done in', 'next: '):
        assert process.stdout.count(text) == 1


def test_a_loader_without_a_batch(tmp_path):
    options = [*SMALL, 'train_dataloader.batch_size=64', 'train_dataloader.drop_last=True']
    message = (
        r'^error: train_dataloader.batch_size=64: the 32 images .*make no batch with drop_last'
    )
    with pytest.raises(SystemExit, match=message):
        train(tmp_path, DEMO, options=options)


def test_resume_continues_as_if_there_had_been_no_stop(tmp_path):
    # Workers are started, and seeded, again in every epoch: the data do not depend on the stop.
    options = [
        *SMALL,
        'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=False',
        'default_hooks.checkpoint.interval=1',
    ]

    def go(folder, epochs, *flags):
        train(folder, DEMO, *flags, options=[*options, f'train_cfg.max_epochs={epochs}'])

    go(tmp_path / 'whole', 2)
    go(tmp_path / 'parts', 1)
    go(tmp_path / 'parts', 2, '--resume')
    whole, parts = weights(tmp_path / 'whole', 2), weights(tmp_path / 'parts', 2)
    first = weights(tmp_path / 'whole', 1)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name
    assert any(not torch.equal(value, first[name]) for name, value in whole.items())


def test_resume_prefers_the_own_checkpoint_to_the_weights_it_started_from(tmp_path):
    # The command that started the run, and once more with --resume.
    first, second = tmp_path / 'first.pth', tmp_path / 'run' / 'epoch_1.pth'
    tool = load_tool('train')
    command = [DEMO, '--work-dir', str(second.parent), '--resume', '--cfg-options']
    args = tool.parse_args([*command, f'load_from={first}'])
    cfg = tool.load_config(args)
    assert (cfg.resume, cfg.load_from) == (False, str(first))
    second.parent.mkdir()
    torch.save({'state_dict': {}}, second)
    cfg = tool.load_config(args)
    assert (cfg.resume, cfg.load_from) == (True, None)
    # Named by the user, it is the one.
    args = tool.parse_args([DEMO, '--work-dir', str(second.parent), '--resume', str(first)])
    cfg = tool.load_config(args)
    assert (cfg.resume, cfg.load_from) == (True, str(first))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['configs/hvs_simsiam_100e.py'], "'data/imagenet/' does not exist"),
        ([DEMO, '--cfg-options', 'model.keep=[5]'], 'keeps 5 views of group 0'),
        ([DEMO, '--cfg-options', 'model.kept=[2]'], "did you mean 'keep'"),
        ([DEMO, '--cfg-options', 'model.algorithm.type=MAE'], 'compares no views'),
        ([DEMO, '--resume', 'nothing.pth'], 'no such checkpoint'),
        ([DEMO, '--auto-scale-lr'], 'auto_scale_lr'),
        ([DEMO, '--cfg-options', 'train_dataloader.batch_size=1'], 'batch size 1 with BatchNorm'),
        (
            [
                DEMO,
                '--cfg-options',
                'default_hooks.knn.type=KNNHook',
                'default_hooks.knn.k=5000',
            ],
            'k=5000 neighbors, but the bank has only 2048 images',
        ),
        (
            [DINO_DEMO, '--cfg-options', 'custom_hooks=[]'],
            "has no 'TeacherHook'",
        ),
        (
            [DINO_DEMO, '--cfg-options', 'model.algorithm.head.warmup_teacher_temp_epochs=9'],
            'warms up for 9 epochs',
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
        (
            [DEMO, '--cfg-options', 'optim_wrapper.optimizer.lr=-1'],
            'optim_wrapper.optimizer: Invalid learning rate: -1.',
        ),
        (
            [DEMO, '--cfg-options', f'{FIRST_CROP}.scale=0'],
            f"{FIRST_CROP}: RandomResizedCrop rejects {{'type': 'RandomResizedCrop', 'scale': 0",
        ),
        (
            [DEMO, '--cfg-options', 'model.candidates=[40]', 'model.keep=[20]'],
            'have 137,846,528,820 combinations',
        ),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(tmp_path, arguments, message):
    command = [arguments[0], '--work-dir', str(tmp_path / 'run'), *arguments[1:]]
    with pytest.raises(SystemExit) as stop:
        load_tool('train').main(command)
    (line,) = stop.value.code.splitlines()
    assert line.startswith('error: ')
    assert message in line
    assert not (tmp_path / 'run').exists()


def test_an_error_of_the_command_is_one_line(tmp_path):
    process = run_tool('train', 'configs/nothing.py', '--work-dir', tmp_path / 'run')
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("error: config 'configs/nothing.py' does not exist")
    assert 'Traceback' not in process.stderr
    assert not (tmp_path / 'run').exists()


def test_the_batch_size_scales_the_learning_rate(tmp_path):
    train(tmp_path, DEMO, '--auto-scale-lr', options=[*SMALL, 'auto_scale_lr.base_batch_size=16'])
    assert scalars(tmp_path)[0]['lr'] == pytest.approx(0.1 * 8 / 16)


def test_pixels_that_are_not_finite(tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*NaN or infinite pixels'):
        train(tmp_path, DEMO, options=[*SMALL, 'data_preprocessor.std=[0,0,0]'])
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.slow
def test_mim_runs_the_config(tmp_path):
    mim = Path(sys.executable).with_name('mim')
    if not mim.exists():
        pytest.skip(
            'openmim needs a setuptools that torch refuses: runs on the default stack, make test'
        )
    process = run(
        mim, 'train', 'onedl-mmpretrain', DEMO, '--gpus', '0', '--work-dir', tmp_path,
        # MMPretrain's own tool turns persistent workers on.
        '--cfg-options', *SMALL, 'train_dataloader.persistent_workers=False',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(scalars(tmp_path)) == 4


# A classifier that starts from a pretrained backbone


def classifier(folder, checkpoint=None):
    """The path of a config, its data, and a checkpoint that fits."""
    root = write_folders(folder / 'data')
    path = folder / 'classifier.py'
    classifier_config(root, checkpoint).dump(path)
    return path, save_backbone(folder / 'backbone.pth', build_backbone(RESNET))


def log_of(work_dir, tool, config, *arguments):
    """Run a tool in this process and return what it logs."""
    # The loggers of one process are told apart by the names of their experiments.
    flag = [] if '--cfg-options' in arguments else ['--cfg-options']
    name = f'experiment_name={work_dir.name}_{uuid.uuid4().hex}'
    parts = [config, *arguments, *flag, name, '--work-dir', work_dir]
    load_tool(tool).main([str(part) for part in parts])
    (path,) = work_dir.glob('*/*.log')
    return path.read_text()


def test_pretrained_then_resumed_then_tested_without_it(tmp_path):
    config, checkpoint = classifier(tmp_path)
    log = log_of(tmp_path / 'run', 'train', config, '--pretrained', checkpoint)
    assert f"tensors loaded from {checkpoint} ('backbone.')" in log
    assert checkpoint in (tmp_path / 'run' / 'classifier.py').read_text()

    os.remove(checkpoint)
    trained = tmp_path / 'run' / 'epoch_1.pth'
    more = ('--cfg-options', 'train_cfg.max_epochs=2')
    log = log_of(tmp_path / 'resumed', 'train', config, '--resume', trained, *more)
    assert 'resumed epoch: 1' in log
    assert 'backbone: ' not in log
    assert set(weights(tmp_path / 'run', 1)) == set(weights(tmp_path / 'resumed', 2))

    log = log_of(tmp_path / 'tested', 'test', config, trained)
    assert 'accuracy/top1' in log
    assert 'backbone: ' not in log


def test_what_resuming_drops(tmp_path):
    config, checkpoint = classifier(tmp_path)
    tool = load_tool('train')

    def initializer(*arguments):
        arguments = [str(config), '--work-dir', str(tmp_path / 'run'), *arguments]
        return tool.load_config(tool.parse_args(arguments)).model.backbone.init_cfg

    # There is nothing yet to resume from.
    assert initializer('--resume').type == 'PretrainedBackbone'
    (tmp_path / 'run').mkdir()
    torch.save({}, tmp_path / 'run' / 'epoch_1.pth')
    assert initializer('--resume') is None
    assert initializer('--resume', '--pretrained', 'gone.pth') is None
    # It stays in the record of the run as long as it is there.
    assert initializer('--resume', '--pretrained', checkpoint).checkpoint == checkpoint
    assert initializer().checkpoint is None


def test_resuming_hard_views_from_a_file_that_is_gone(tmp_path):
    tool = load_tool('train')
    init = 'model.algorithm.backbone.init_cfg'
    settings = [f'{init}.type=PretrainedBackbone', f'{init}.checkpoint=gone.pth']
    arguments = [DEMO, '--work-dir', str(tmp_path), '--resume', '--cfg-options', *settings]

    def initializer():
        return tool.load_config(tool.parse_args(arguments)).model.algorithm.backbone.init_cfg

    assert initializer().checkpoint == 'gone.pth'
    torch.save({}, tmp_path / 'epoch_1.pth')
    assert initializer() is None


@pytest.mark.parametrize(('setting', 'count'), [('.checkpoint={}', 1), ('=None', 0)])
def test_pretrained_by_a_setting_or_not_at_all(tmp_path, setting, count):
    config, checkpoint = classifier(tmp_path)
    setting = f'model.backbone.init_cfg{setting}'.format(checkpoint)
    log = log_of(tmp_path / f'run{count}', 'train', config, '--cfg-options', setting)
    assert log.count('tensors loaded from') == count


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'Give its checkpoint with --cfg-options model.backbone.init_cfg.checkpoint=PATH'),
        (['--pretrained', 'none.pth'], "checkpoint='none.pth': there is no such file"),
        (['--pretrained', '{head}'], 'the checkpoint holds no backbone'),
        (['--pretrained', '{cut}'], 'is no checkpoint that torch can read'),
        (['--pretrained', '{deep}'], 'its backbone is of another architecture than this ResNet'),
        (['--resume'], 'starts from a pretrained backbone'),
        (
            ['--pretrained', '{good}', '--cfg-options', 'model.head.num_classes=7'],
            'model.head.num_classes=7, but train_dataloader.dataset has 2 classes',
        ),
        (
            ['--pretrained', '{good}', '--cfg-options', 'val_dataloader.dataset.ann_file=val.txt'],
            'val.txt',
        ),
    ],
)
def test_no_fitting_backbone_is_one_line_and_leaves_nothing_behind(tmp_path, arguments, message):
    config, good = classifier(tmp_path)
    paths = {name: tmp_path / f'{name}.pth' for name in ('head', 'cut', 'deep')}
    torch.save({'head.weight': torch.ones(1)}, paths['head'])
    paths['cut'].write_bytes(Path(good).read_bytes()[:-500])
    save_backbone(paths['deep'], build_backbone({**RESNET, 'depth': 50}))
    arguments = [part.format(good=good, **paths) for part in arguments]
    with pytest.raises(SystemExit) as info:
        load_tool('train').main([str(config), '--work-dir', str(tmp_path / 'run'), *arguments])
    line = str(info.value)
    assert line.startswith('error: ')
    assert message in line
    assert '\n' not in line
    assert not (tmp_path / 'run').exists()


def test_pretrained_where_the_config_takes_none():
    with pytest.raises(SystemExit, match='does not start from a pretrained backbone'):
        load_tool('train').main([str(ROOT / DEMO), '--pretrained', 'any.pth'])


def test_workers_that_a_setting_takes_away():
    tool = load_tool('train')
    args = [str(ROOT / DEMO), '--cfg-options', 'train_dataloader.num_workers=0']
    assert not tool.load_config(tool.parse_args(args)).train_dataloader.persistent_workers


def test_upstreams_tool_takes_the_setting(tmp_path, monkeypatch):
    # What `mim train` starts.
    path = Path(mmpretrain.__path__[0]) / '.mim' / 'tools' / 'train.py'
    config, checkpoint = classifier(tmp_path)
    setting = f'model.backbone.init_cfg.checkpoint={checkpoint}'
    command = [path, config, '--work-dir', tmp_path / 'run', '--cfg-options', setting]
    monkeypatch.setattr(sys, 'argv', [str(part) for part in command])
    load_tool(path).main()
    (log,) = tmp_path.glob('run/*/*.log')
    assert log.read_text().count('tensors loaded from') == 1


@pytest.mark.slow
def test_detection_without_mmdetection(tmp_path):
    """Also where it is installed: an import fails as if it were not."""
    # Not in this process: packages register their classes once, and others may have imported them.
    (tmp_path / 'sitecustomize.py').write_text('import sys\nsys.modules["mmdet"] = None\n')
    process = run(
        sys.executable, 'tools/train.py', 'configs/detection/faster-rcnn_r50_fpn_custom.py',
        '--work-dir', tmp_path / 'run', '--cfg-options', 'model.backbone.init_cfg=None',
        PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}',
    )  # fmt: skip
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert last.endswith('run "make detection".')
    assert not (tmp_path / 'run').exists()
