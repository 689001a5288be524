"""What a training loader must give, before a run."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from hvs_mm.engine import error_line, preflight
from tests.helpers.tiny import algorithm_config
from tests.helpers.tools import ROOT
from tests.test_engine.test_checks.test_preflight import config as plain_config
from tests.test_engine.test_hooks.test_bad_images_hook import loader


def config(folder, hook=True, **settings):
    hooks = dict(bad_images=dict(type='BadImagesHook')) if hook else {}
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='HVSAlgorithm',
                algorithm=algorithm_config('SimSiam'),
                candidates=[4],
                keep=[2],
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            train_dataloader=dict(loader(folder, **settings), drop_last=True),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=hooks,
            work_dir='unused',
        )
    )


def refused(cfg, message):
    with pytest.raises(ValueError, match=message) as error:
        preflight(cfg)
    assert '\n' not in error_line(error.value)


def test_skipping_needs_a_report(folder):
    preflight(config(folder))
    refused(config(folder, hook=False), r'no hook reports them: .*type=BadImagesHook')
    cfg = config(folder, hook=False)
    cfg.train_dataloader.dataset.pipeline[0].bad_images = 'error'
    preflight(cfg)
    cfg = config(folder)
    cfg.train_dataloader.dataset.pipeline[2].type = 'PackInputs'
    refused(cfg, r'PackInputs does not report them.*PackViews')
    cfg = config(folder)
    cfg.default_hooks.bad_images.max_share = 3
    refused(cfg, 'max_share=3 must be')


@pytest.mark.parametrize('where', ['train', 'val', 'test'])
def test_evaluation_may_not_skip(folder, where):
    cfg = config(folder)
    pipeline = [dict(type='LoadCheckedImage'), dict(type='PackInputs')]
    if where == 'train':
        cfg.train_dataloader.dataset.test_mode = True
    else:
        dataset = dict(cfg.train_dataloader.dataset, pipeline=pipeline)
        cfg[f'{where}_dataloader'] = dict(batch_size=4, dataset=dataset)
    option = rf'{where}_dataloader\.dataset\.pipeline\.0'
    refused(cfg, rf'^{option}: .*--cfg-options {option}\.bad_images=error')


def test_fewer_images_than_the_batch(folder, monkeypatch):
    cfg = config(folder, batch_size=10)
    refused(cfg, r'batch_size=10: the 9 images of .* make no batch with drop_last=True.*size=9')
    # The only batch has nine images.
    cfg.train_dataloader.drop_last = False
    preflight(cfg)
    cfg.train_dataloader.update(batch_size=9, drop_last=True)
    preflight(cfg)
    # An image of the rest of an epoch alone is no batch for BatchNorm.
    cfg.train_dataloader.update(batch_size=8, drop_last=False)
    refused(cfg, r'=8 leaves one of the 9 images .*: batch size 1 with BatchNorm')
    cfg.train_dataloader.drop_last = True
    preflight(cfg)
    # Two processes get five images each.
    cfg.launcher = 'pytorch'
    monkeypatch.setenv('WORLD_SIZE', '2')
    cfg.train_dataloader.batch_size = 5
    preflight(cfg)
    cfg.train_dataloader.batch_size = 6
    refused(cfg, r'the 9 images of .*, 5 for each of 2 processes, make no batch')
    # One that counts no epochs gives every image again and again.
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    preflight(cfg)


def test_a_loader_with_another_number_of_views():
    cfg = plain_config()
    views = dict(type='CandidateViews', num_views=[3], transforms=[[]])
    cfg.train_dataloader.dataset.pipeline = [views]
    with pytest.raises(ValueError, match=r'pipeline\.0\.num_views=\[3\].*candidates=\[4\] needs 4'):
        preflight(cfg)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(ValueError, match=r'dataset\.dataset\.pipeline\.0'):
        preflight(cfg)


def test_batch_size_one():
    cfg = plain_config()
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match='batch size 1 with BatchNorm'):
        preflight(cfg)


@pytest.mark.parametrize('name', ['dinov2', 'hvs_dinov2'])
def test_batch_size_one_with_koleo(name, folder):
    cfg = Config.fromfile(str(ROOT / f'configs/demo/{name}.py'))
    cfg.work_dir = 'unused'
    cfg.merge_from_dict({'train_dataloader.batch_size': 1, 'train_dataloader.drop_last': False})
    cfg.model.get('algorithm', cfg.model).head.koleo_weight = 0.1
    refused(cfg, r'^batch size 1 with KoLeo \(DINOv2\)')
    # The last batch of an epoch, of the built-in images.
    cfg.train_dataloader.batch_size = 89
    refused(cfg, r'=89 leaves one of the 2048 images .*: batch size 1 with KoLeo')
    cfg.train_dataloader.drop_last = True
    preflight(cfg)
