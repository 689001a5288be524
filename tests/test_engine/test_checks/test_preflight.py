from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hvs_mm.engine import error_line, preflight, preflight_test
from tests.tiny import algorithm_config, build_algorithm, build_hvs
from tests.tiny_classifier import (
    VIT,
    build_backbone,
    classifier_config,
    save_backbone,
    write_folders,
)
from tests.tiny_dino import RESNET
from tests.tiny_dino import dino_config as dino


def config(**extra) -> Config:
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'), candidates=[4], keep=[2]
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            train_dataloader=dict(
                batch_size=4,
                dataset=dict(type='ShapesDataset', split='train', num_samples=8, pipeline=[]),
            ),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            param_scheduler=[dict(type='CosineAnnealingLR', T_max=10)],
            work_dir='unused',
            **extra,
        )
    )


def test_a_good_config_passes():
    preflight(config())


def test_missing_data_root(tmp_path):
    cfg = config()
    cfg.train_dataloader.dataset = dict(
        type='ImageNet', data_root='data/imagenet/', split='train', pipeline=[]
    )
    with pytest.raises(FileNotFoundError) as error:
        preflight(cfg)
    for part in ("'data/imagenet/' does not exist", 'data_root=PATH', 'make demo', 'docs/'):
        assert part in str(error.value)
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'train.* does not exist'):
        preflight(cfg)
    (tmp_path / 'train').mkdir()
    with pytest.raises(ValueError, match=r"no images in class folders below '.*train'"):
        preflight(cfg)
    write_folders(tmp_path)
    preflight(cfg)
    cfg.train_dataloader.dataset.ann_file = 'meta/train.txt'
    with pytest.raises(FileNotFoundError, match=r'train\.txt'):
        preflight(cfg)


def test_missing_data_root_inside_a_wrapper():
    cfg = config()
    inner = dict(type='ImageNet', data_root='nowhere', split='train', pipeline=[])
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(FileNotFoundError, match=r'train_dataloader\.dataset\.dataset'):
        preflight(cfg)


@pytest.mark.parametrize(
    ('setting', 'value', 'message'),
    [
        ('keep', [5], 'keeps 5 views of group 0'),
        ('selector', 'hard', "selector='hard'"),
    ],
)
def test_wrong_model_settings(setting, value, message):
    cfg = config()
    cfg.model[setting] = value
    with pytest.raises(ValueError, match=message):
        preflight(cfg)


def save(path, model, model_config=None):
    meta = {'cfg': Config(dict(model=model_config)).pretty_text} if model_config else {}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
    return str(path)


def test_resume_from_ones_own_and_from_the_baselines_checkpoint(tmp_path):
    for model in (build_hvs('SimSiam'), build_algorithm('SimSiam')):
        path = save(tmp_path / 'checkpoint.pth', model)
        preflight(config(resume=True, load_from=path))


def test_resume_from_another_algorithm(tmp_path):
    path = save(tmp_path / 'simclr.pth', build_algorithm('SimCLR'), algorithm_config('SimCLR'))
    message = r'of another model \(SimCLR, this is HVSAlgorithm of SimSiam\); \d+ of \d+ tensors'
    with pytest.raises(ValueError, match=message):
        preflight(config(resume=True, load_from=path))
    # Its weights alone are a legitimate start.
    preflight(config(resume=False, load_from=path))


def test_resume_from_another_backbone(tmp_path):
    path = save(tmp_path / 'wider.pth', build_algorithm('SimSiam', stem_channels=16))
    with pytest.raises(ValueError, match=r'type unknown.*backbone\.bn1\.bias'):
        preflight(config(resume=True, load_from=path))


def test_resume_from_the_latest_of_the_work_dir(tmp_path):
    path = save(tmp_path / 'epoch_1.pth', build_algorithm('SimCLR'))
    (tmp_path / 'last_checkpoint').write_text(path)
    cfg = config(resume=True)
    cfg.work_dir = str(tmp_path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth'):
        preflight(cfg)


def test_resume_from_a_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        preflight(config(resume=True, load_from=str(tmp_path / 'none.pth')))


def test_resume_from_something_else(tmp_path):
    path = tmp_path / 'text.pth'
    path.write_text('no checkpoint')
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight(config(resume=True, load_from=str(path)))


def test_resume_from_a_checkpoint_of_the_old_format(tmp_path):
    path = tmp_path / 'old.pth'
    state = {'state_dict': build_hvs('SimSiam').state_dict(), 'meta': {}}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    preflight(config(resume=True, load_from=str(path)))


def test_weights_to_start_from_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'load_from=.*no such checkpoint'):
        preflight(config(load_from=str(tmp_path / 'none.pth')))


def test_amp_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = config()
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(ValueError, match=r'needs a GPU.*add --amp'):
        preflight(cfg)


def test_a_loader_with_another_number_of_views():
    cfg = config()
    views = dict(type='CandidateViews', num_views=[3], transforms=[[]])
    cfg.train_dataloader.dataset.pipeline = [views]
    with pytest.raises(ValueError, match=r'pipeline\.0\.num_views=\[3\].*candidates=\[4\] needs 4'):
        preflight(cfg)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(ValueError, match=r'dataset\.dataset\.pipeline\.0'):
        preflight(cfg)


def test_batch_size_one():
    cfg = config()
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match='batch size 1 with BatchNorm'):
        preflight(cfg)


def test_classes_in_place_of_names():
    from hvs_mm.datasets import ShapesDataset
    from hvs_mm.models import HVSAlgorithm

    cfg = config()
    cfg.model.type = HVSAlgorithm
    cfg.train_dataloader.dataset.type = ShapesDataset
    preflight(cfg)


# Classifiers that start from a pretrained backbone


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path / 'data')


@pytest.fixture
def checkpoint(tmp_path):
    return save_backbone(tmp_path / 'backbone.pth', build_backbone(RESNET))


def test_a_good_classifier_passes(folders, checkpoint):
    preflight(classifier_config(folders, checkpoint))


@pytest.mark.parametrize('given', [None, ''])
def test_no_pretrained_checkpoint(folders, given):
    with pytest.raises(ValueError, match=r'Give its checkpoint with --cfg-options model\.backbone'):
        preflight(classifier_config(folders, given))


def test_random_weights_on_request(folders):
    cfg = classifier_config(folders)
    cfg.model.backbone.init_cfg = None
    preflight(cfg)


def test_pretrained_checkpoints_that_do_not_fit(folders, tmp_path):
    missing = str(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint=.*none'):
        preflight(classifier_config(folders, missing))
    other = save_backbone(tmp_path / 'vit.pth', build_backbone(VIT))
    with pytest.raises(ValueError, match='none of the 30 tensors'):
        preflight(classifier_config(folders, other))
    text = tmp_path / 'text.pth'
    text.write_text('nothing')
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight(classifier_config(folders, str(text)))


def test_a_run_that_resumes_needs_no_pretrained_checkpoint(folders, tmp_path):
    cfg = classifier_config(folders, work_dir=str(tmp_path), resume=True)
    # Nothing to resume from: MMEngine would start anew.
    with pytest.raises(ValueError, match='starts from a pretrained backbone'):
        preflight(cfg)
    model = MODELS.build(cfg.model)
    preflight(classifier_config(folders, resume=True, load_from=save(tmp_path / 'a.pth', model)))


@pytest.mark.parametrize('loader', ['train', 'val'])
def test_number_of_classes(folders, checkpoint, loader):
    cfg = classifier_config(folders, checkpoint)
    cfg.model.head.num_classes = 3
    with pytest.raises(ValueError, match=r'model\.head\.num_classes=3, but train.* has 2 classes'):
        preflight(cfg)
    cfg = classifier_config(folders, checkpoint)
    (folders / loader / 'bird').mkdir()
    with pytest.raises(ValueError, match=rf'num_classes=2, but {loader}.*dataset has 3 classes'):
        preflight(cfg)


def test_number_of_classes_that_a_data_set_names(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.train_dataloader.dataset.type = 'ImageNet'
    with pytest.raises(ValueError, match=r'2 folders.*ImageNet has 1000.*dataset\.classes=FILE'):
        preflight(cfg)
    names = folders / 'classes.txt'
    names.write_text('cat\ndog\n')
    cfg.train_dataloader.dataset.classes = str(names)
    preflight(cfg)


def test_number_of_classes_in_a_list(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    (folders / 'train.txt').write_text('cat/0.png 0\ndog/0.png 2\n')
    with pytest.raises(ValueError, match='dataset has 3 classes'):
        preflight(cfg)
    # A list may lack images of some classes.
    (folders / 'train.txt').write_text('cat/0.png 0\n')
    preflight(cfg)
    for text in ('cat/0.png\n', ''):
        (folders / 'train.txt').write_text(text)
        with pytest.raises(
            ValueError, match=r"cannot read the labels of '.*train\.txt': is it empty"
        ):
            preflight(cfg)
    cfg.train_dataloader.dataset.ann_file = 'other.txt'
    with pytest.raises(FileNotFoundError, match=r'other\.txt.* does not exist'):
        preflight(cfg)


def test_number_of_classes_of_mixed_labels(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.data_preprocessor.num_classes = 5
    preflight(cfg)
    cfg.model.train_cfg = dict(augments=[dict(type='Mixup', alpha=0.8)])
    with pytest.raises(ValueError, match=r'data_preprocessor\.num_classes=5, but .*=2'):
        preflight(cfg)


def test_a_data_set_that_is_downloaded(tmp_path, checkpoint):
    root = tmp_path / 'cifar'
    cfg = classifier_config(tmp_path, checkpoint)
    cfg.model.head.num_classes = 10
    cfg.val_dataloader = None
    cfg.train_dataloader.dataset = dict(type='CIFAR10', data_root=str(root), pipeline=[])
    with pytest.raises(FileNotFoundError, match='Make that folder and CIFAR10 is downloaded'):
        preflight(cfg)
    root.mkdir()
    preflight(cfg)
    cfg.model.head.num_classes = 9
    with pytest.raises(ValueError, match=r'num_classes=9, but .* has 10 classes'):
        preflight(cfg)
    assert not list(root.iterdir())


def test_what_only_testing_reads(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.test_dataloader.dataset.data_root = 'nowhere'
    preflight(cfg)


def test_a_schedule_that_begins_after_the_run(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    warmup = dict(type='LinearLR', start_factor=0.1, end=5)
    cfg.param_scheduler = [warmup, dict(type='CosineAnnealingLR', begin=5)]
    with pytest.raises(ValueError, match=r'max_epochs=1, but CosineAnnealingLR begins at epoch 5'):
        preflight(cfg)
    cfg.train_cfg.max_epochs = 6
    preflight(cfg)


# Evaluation


def trained(folders, tmp_path, **changes):
    """A config to test with, and a checkpoint of its model."""
    cfg = classifier_config(folders, **changes)
    cfg.load_from = save(tmp_path / 'trained.pth', MODELS.build(cfg.model), cfg.model.to_dict())
    return cfg


def test_testing_needs_the_trained_model_alone(folders, tmp_path):
    cfg = trained(folders, tmp_path)
    cfg.train_dataloader.dataset.data_root = 'nowhere'
    preflight_test(cfg)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.head.num_classes': 3}, r'num_classes=3, but test_dataloader\.dataset has 2'),
        (
            {'model.backbone.depth': 50, 'model.head.in_channels': 256},
            r'another model \(ImageClassifier\).*: it lacks|size mismatch',
        ),
        ({'model.head.in_channels': 65}, r'size mismatch for head\.fc\.weight'),
    ],
)
def test_testing_with_another_config(folders, tmp_path, changes, message):
    cfg = trained(folders, tmp_path)
    cfg.merge_from_dict(changes)
    with pytest.raises(ValueError, match=message):
        preflight_test(cfg)


def test_testing_without_data_or_checkpoint(folders, tmp_path):
    cfg = trained(folders, tmp_path)
    cfg.test_dataloader.dataset.data_root = 'nowhere'
    with pytest.raises(FileNotFoundError, match=r"test_dataloader\.dataset: 'nowhere'"):
        preflight_test(cfg)
    cfg = trained(folders, tmp_path)
    cfg.load_from = 'none.pth'
    with pytest.raises(FileNotFoundError, match=r'none\.pth: there is no such checkpoint'):
        preflight_test(cfg)
    text = tmp_path / 'text.pth'
    text.write_text('nothing')
    cfg.load_from = str(text)
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight_test(cfg)
    torch.save([1], text)
    with pytest.raises(ValueError, match=r'text\.pth: this is no checkpoint, but a list'):
        preflight_test(cfg)


def test_what_a_tool_prints():
    assert error_line(KeyError('a\n  b')) == 'error: a b'
    assert error_line(ValueError('no')) == 'error: no'
    assert error_line(ImportError('no module x')) == 'error: no module x'
    assert error_line(ImportError("No module named 'mmcv._ext'")).endswith('run "make detection".')


def dino_config(**extra) -> Config:
    cfg = config(custom_hooks=[dict(type='TeacherHook')], **extra)
    cfg.model = dino('DINO')
    return cfg


def test_a_teacher_needs_its_hook():
    from hvs_mm.engine import TeacherHook

    cfg = dino_config()
    preflight(cfg)
    cfg.custom_hooks[0].type = TeacherHook
    preflight(cfg)
    for hooks in ([], None, [dict(type='ProgressHook')]):
        cfg.custom_hooks = hooks
        with pytest.raises(ValueError, match=r"has no 'TeacherHook', without which .* DINO"):
            preflight(cfg)
    preflight(config())


def test_weights_to_start_from_of_another_architecture(tmp_path):
    cfg = config(load_from=str(tmp_path / 'a.pth'))
    model = MODELS.build(cfg.model)
    state = model.state_dict()
    # As DistributedDataParallel names them; some tensors may be missing and others left over.
    state.pop('backbone.conv1.weight')
    state['other'] = torch.zeros(1)
    torch.save({f'module.{key}': value for key, value in state.items()}, cfg.load_from)
    preflight(cfg)
    name = next(key for key in state if key.startswith('neck') and key.endswith('weight'))
    torch.save(dict(state_dict={**state, name: torch.zeros(3, 3)}), cfg.load_from)
    with pytest.raises(
        ValueError, match=rf'load_from=.*a\.pth: the checkpoint is of another.*{name}'
    ):
        preflight(cfg)
    torch.save(dict(student=state), cfg.load_from)
    with pytest.raises(
        ValueError, match=r'none of its tensors, such as student, .*published_to_hvs'
    ):
        preflight(cfg)


@pytest.mark.parametrize('settings', [dict(warmup_teacher_temp_epochs=1), dict(mask_start_epoch=1)])
def test_a_loop_without_epochs(settings):
    cfg = dino_config()
    cfg.model = dino('IBOT')
    cfg.model.head.update(warmup_teacher_temp_epochs=0)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10)
    preflight(cfg)
    cfg.model.head.update(settings)
    with pytest.raises(ValueError, match=r"'IterBasedTrainLoop' counts iterations, but .* epochs"):
        preflight(cfg)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mask_start_epoch=3), 'masks begin at epoch 3'),
        (dict(mask_start_epoch=2, warmup_teacher_temp_epochs=2), 'warms up for 2 epochs'),
    ],
)
def test_masks_that_begin_too_late(settings, message):
    cfg = dino_config()
    cfg.model = dino('IBOT')
    cfg.train_cfg.max_epochs = 3
    cfg.model.head.update(dict(warmup_teacher_temp_epochs=1, mask_start_epoch=2))
    preflight(cfg)
    cfg.model.head.update(settings)
    with pytest.raises(ValueError, match=message):
        preflight(cfg)


def test_the_option_of_a_pretrained_backbone_inside_an_hvs_config(tmp_path):
    cfg = dino_config()
    cfg.model.backbone.init_cfg = dict(type='PretrainedBackbone', checkpoint=None)
    with pytest.raises(ValueError, match=r'^model\.backbone\.init_cfg\.checkpoint=None'):
        preflight(cfg)
    hvs = dict(type='HVSAlgorithm', algorithm=cfg.model, candidates=[2, 2], keep=[1, 1])
    cfg.model = {**hvs, 'algorithm': {**cfg.model, 'head': {**cfg.model.head, 'num_crops': 2}}}
    with pytest.raises(ValueError, match=r'^model\.algorithm\.backbone\.init_cfg\.checkpoint=None'):
        preflight(cfg)
    path = tmp_path / 'a.pth'
    torch.save(MODELS.build(cfg.model).state_dict(), path)
    cfg.model.algorithm.backbone.init_cfg.checkpoint = str(path)
    preflight(cfg)


def test_a_warmup_that_never_ends():
    cfg = config()
    cfg.train_cfg.max_epochs = 3
    cfg.model.warmup = 2
    preflight(cfg)
    cfg.model.warmup = 3
    with pytest.raises(ValueError, match=r'model\.warmup=3 .* max_epochs=3: .* never be selected'):
        preflight(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=100)
    cfg.param_scheduler = []
    with pytest.raises(ValueError, match=r"model\.warmup=3 counts epochs.*'IterBasedTrainLoop'"):
        preflight(cfg)
