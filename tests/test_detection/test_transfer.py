"""A pretrained backbone in MMDetection, as a user gets it there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from tests.helpers.coco import write_coco

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs' / 'detection'
CUSTOM = CONFIGS / 'faster-rcnn_r50_fpn_custom.py'

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('mmdet') is None, reason='needs MMDetection: make detection'
)

VIT = dict(type='VisionTransformer', arch='deit-small', img_size=224, patch_size=16)


def run(*command, **environment):
    env = {**os.environ, 'OMP_NUM_THREADS': '2', 'PYTHONPATH': str(ROOT), **environment}
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=env, capture_output=True, text=True
    )


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp('coco') / 'data')


@pytest.fixture(scope='module')
def resnet_checkpoint(tmp_path_factory):
    """A checkpoint of HVS-SimSiam with ResNet-50."""
    model = MODELS.build(Config.fromfile(ROOT / 'configs' / 'hvs_simsiam_100e.py').model)
    path = tmp_path_factory.mktemp('simsiam') / 'epoch_1.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def vit_checkpoint(tmp_path_factory):
    """A teacher and a student as HVS-DINO saves them; only the teacher's class token is ones."""
    backbone = MODELS.build(VIT)
    # Not ones everywhere: norms of constant features can make gradients overflow.
    backbone.init_weights()
    teacher = backbone.state_dict()
    teacher['cls_token'] = torch.ones_like(teacher['cls_token'])
    state = {f'backbone.{name}': torch.zeros_like(x) for name, x in teacher.items()}
    state |= {f'teacher.backbone.{name}': x for name, x in teacher.items()}
    path = tmp_path_factory.mktemp('dino') / 'epoch_1.pth'
    torch.save(dict(meta={}, state_dict=state), path)
    return path


def train(*arguments, dataset=None, classes='red,blue'):
    environment = dict(DATASET_ROOT=str(dataset), CLASSES=classes) if dataset else {}
    return run(sys.executable, 'tools/train.py', *arguments, **environment)


def small(batch_size=2):
    """One epoch of two steps on small images."""
    return [
        'train_cfg.max_epochs=1',
        f'train_dataloader.batch_size={batch_size}',
        *(
            f'{loader}_dataloader.{setting}'
            for loader in ('train', 'val', 'test')
            for setting in ('num_workers=0', 'persistent_workers=False')
        ),
        'train_dataloader.dataset.pipeline.2.scale=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)',
        'test_dataloader.dataset.pipeline.1.scale=(128,128)',
        'default_hooks.logger.interval=1',
        'optim_wrapper.optimizer.lr=1e-4',
        'randomness.seed=0',
        # Two steps from random heads may leave no box above a threshold, and COCO then no result.
        'model.test_cfg.rcnn.score_thr=-1',
    ]


def scalars(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def on_coco(coco, prefix='model'):
    """Options that put COCO's own configs on the tiny data set."""
    options = [
        f'{prefix}.roi_head.bbox_head.num_classes=2',
        f'{prefix}.roi_head.mask_head.num_classes=2',
    ]
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = f'{loader}_dataloader.dataset'
        options += [
            f'{dataset}.data_root={coco}',
            f'{dataset}.ann_file=annotations/{split}.json',
            f'{dataset}.data_prefix.img={split}',
            f'{dataset}.metainfo.classes=("red","blue")',
        ]
    return [
        *options,
        *(f'{x}_evaluator.ann_file={coco}/annotations/val.json' for x in ('val', 'test')),
    ]


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.name)
def test_the_configs_build_and_differ_from_upstream_where_they_say(path, tmp_path):
    from mmdet.registry import MODELS as DETECTORS
    from mmengine.registry import DefaultScope

    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = DETECTORS.build(cfg.model)
    assert cfg.model.backbone.init_cfg == dict(type='PretrainedBackbone', checkpoint=None)
    assert cfg.default_hooks.finite_step == dict(type='mmpretrain.FiniteStepHook')
    name = path.name.replace('vit-small', 'r50_fpn').replace('custom', '1x_coco')
    folder = name.split('_')[0].replace('-', '_')
    (tmp_path / name).write_text(f"_base_ = 'mmdet::{folder}/{name}'")
    upstream = Config.fromfile(tmp_path / name)
    assert cfg.train_cfg == upstream.train_cfg
    # Except for COCO's warm-up, which is longer than training on a small set.
    first = 1 if 'custom' in path.name else 0
    assert cfg.param_scheduler[first:] == upstream.param_scheduler[first:]
    assert cfg.train_dataloader.dataset.pipeline == upstream.train_dataloader.dataset.pipeline
    assert cfg.model.rpn_head == upstream.model.rpn_head
    # All stages are trained.
    assert all(p.requires_grad for p in model.backbone.parameters())
    if 'vit' in path.name:
        with torch.no_grad():
            levels = model.eval().extract_feat(torch.rand(1, 3, 64, 128))
        assert [x.shape[-2:] for x in levels] == [(64 // s, 128 // s) for s in (4, 8, 16, 32, 64)]
        assert model.rpn_head.prior_generator.strides == [(s, s) for s in (4, 8, 16, 32, 64)]


def test_options_are_those_of_mmdetections_own_classes():
    from hvs_mm.engine import check_overrides

    cfg = Config.fromfile(CUSTOM)
    # MMPretrain's ResNet has no such argument.
    check_overrides(cfg, {'model.backbone.plugins': None})
    with pytest.raises(ValueError, match=r"has no key 'dcm'; did you mean 'dcn'"):
        check_overrides(cfg, {'model.backbone.dcm': None})


@pytest.mark.slow
def test_faster_rcnn_from_hvs_simsiam_trains_evaluates_and_tests(coco, resnet_checkpoint, tmp_path):
    work_dir = tmp_path / 'run'
    process = train(
        CUSTOM,
        '--pretrained', resnet_checkpoint,
        '--work-dir', work_dir,
        # A hook of MMPretrain's registry.
        '--threads', '1',
        '--cfg-options', *small(),
        dataset=coco,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert f"backbone: 318 of 318 tensors loaded from {resnet_checkpoint} ('backbone.')" in (
        process.stdout + process.stderr
    )
    log = scalars(work_dir)
    assert [entry['step'] for entry in log if 'loss' in entry] == [1, 2]
    trained_map = next(e['coco/bbox_mAP'] for e in log if 'coco/bbox_mAP' in e)
    # Weights move no further than two steps at this rate allow: they are the checkpoint's.
    before = torch.load(resnet_checkpoint)['state_dict']
    after = torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']
    for name in ('conv1.weight', 'layer3.0.conv2.weight'):
        moved = (after[f'backbone.{name}'] - before[f'backbone.{name}']).abs().max()
        assert 0 < moved < 0.05 * before[f'backbone.{name}'].abs().max()

    process = run(
        sys.executable, 'tools/test.py', CUSTOM, work_dir / 'epoch_1.pth',
        '--work-dir', tmp_path / 'test', '--cfg-options', *small()[8:],
        DATASET_ROOT=str(coco), CLASSES='red,blue',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (path,) = (tmp_path / 'test').glob('*/*.json')
    assert json.loads(path.read_text())['coco/bbox_mAP'] == pytest.approx(trained_map)


@pytest.mark.slow
def test_mask_rcnn_with_a_vit_takes_the_teacher(coco, vit_checkpoint, tmp_path):
    process = train(
        CONFIGS / 'mask-rcnn_vit-small_1x_coco.py',
        '--pretrained', vit_checkpoint,
        '--work-dir', tmp_path,
        '--cfg-options', *small(), *on_coco(coco),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert f"tensors loaded from {vit_checkpoint} ('teacher.backbone.')" in (
        process.stdout + process.stderr
    )
    log = scalars(tmp_path)
    assert all(torch.tensor(e['loss_mask']).isfinite() for e in log if 'loss' in e)
    assert any('coco/segm_mAP' in entry for entry in log)
    after = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert (after['backbone.cls_token'] - 1).abs().max() < 0.01


@pytest.mark.slow
def test_mim_trains_it(coco, resnet_checkpoint, tmp_path):
    process = run(
        sys.executable, '-m', 'mim', 'train', 'hvs-mm', CUSTOM,
        '--work-dir', tmp_path, '--gpus', '0',
        '--pretrained', resnet_checkpoint, '--cfg-options', *small(),
        DATASET_ROOT=str(coco), CLASSES='red,blue',
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert any('coco/bbox_mAP' in entry for entry in scalars(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'dataset', 'classes', 'message'),
    [
        ([], None, 'red,blue', '--pretrained'),
        (['--pretrained', 'missing.pth'], None, 'red,blue', 'missing.pth'),
        (['CHECKPOINT'], 'missing', 'red,blue', "'missing' does not exist"),
        (['CHECKPOINT'], 'no_annotations', 'red,blue', 'annotations/train.json'),
        (['CHECKPOINT'], None, 'red,green', "'green'"),
        (
            ['CHECKPOINT', '--cfg-options', 'model.roi_head.bbox_head.num_classes=5'],
            None,
            'red,blue',
            'model.roi_head.bbox_head.num_classes=5',
        ),
        (['VIT'], None, 'red,blue', 'none of the'),
    ],
)
def test_bad_input_is_one_line(
    coco, resnet_checkpoint, vit_checkpoint, tmp_path, arguments, dataset, classes, message
):
    if dataset == 'no_annotations':
        dataset = tmp_path / 'data'
        for split in ('train', 'val'):
            (dataset / split).mkdir(parents=True)
    checkpoints = dict(CHECKPOINT=resnet_checkpoint, VIT=vit_checkpoint)
    if arguments and arguments[0] in checkpoints:
        arguments = ['--pretrained', checkpoints[arguments[0]], *arguments[1:]]
    work_dir = tmp_path / 'run'
    process = train(
        CUSTOM, '--work-dir', work_dir, *arguments, dataset=dataset or coco, classes=classes
    )
    assert process.returncode == 1
    assert 'Traceback' not in process.stderr
    assert process.stderr.splitlines()[-1].startswith('error: ')
    assert message in process.stderr.splitlines()[-1]
    assert not work_dir.exists()
