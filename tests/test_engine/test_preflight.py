from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from hvs_mm.engine import preflight
from tests.tiny import algorithm_config, build_algorithm, build_hvs


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
    with pytest.raises(ValueError, match=r'text\.pth: this is no checkpoint'):
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
