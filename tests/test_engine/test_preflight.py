from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from hvs_mm.engine import check_overrides, preflight
from tests.tiny import algorithm_config, build_algorithm, build_hvs


def config(**extra):
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


@pytest.mark.parametrize(
    'key',
    [
        'model.keep',
        'model.selector',  # an argument the config does not set
        'model.pair_loss.type',
        'model.algorithm.backbone.depth',
        'model.algorithm.backbone.frozen_stages',
        'train_cfg.max_epochs',
        'train_dataloader.dataset.indices',
        'optim_wrapper.accumulative_counts',
        'param_scheduler.0.T_max',
        'default_hooks.ema.type',
        'randomness.seed',
        'load_from',
        'find_unused_parameters',
    ],
)
def test_keys_that_exist(key):
    check_overrides(config(), {key: 1})


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('model.candidats', "'model' has no key 'candidats'; did you mean 'candidates'"),
        ('modle.keep', "the config has no key 'modle'; did you mean 'model'"),
        ('optim_wraper', "no key 'optim_wraper'; did you mean 'optim_wrapper'"),
        ('train_cfg.max_epoch', "'train_cfg' has no key 'max_epoch'; did you mean 'max_epochs'"),
        ('param_scheduler.3.T_max', "'param_scheduler' has no key '3'"),
        ('model.algorithm.bakbone.depth', "did you mean 'backbone'"),
    ],
)
def test_keys_that_do_not_exist(key, message):
    with pytest.raises(ValueError, match=message):
        check_overrides(config(), {key: 1})


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
