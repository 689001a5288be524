"""Configs with other images, another length, or hard views."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from hvs_mm import get_config, harden
from hvs_mm.engine import build_model
from hvs_mm.recipes import find_images
from hvs_mm.recipes.adapt import add_hard_views, stretch_schedule, use_images
from tests.helpers.configs import CONFIGS
from tests.helpers.images import class_names, write_images

SIMSIAM = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'
MOCOV3 = 'mmpretrain::mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py'
SWAV = 'mmpretrain::swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py'


# --- Length -----------------------------------------------------------------------------------


def config_with(schedulers: list[dict[str, Any]] | None, epochs: int = 8) -> Config:
    return Config(dict(model={}, train_cfg=dict(max_epochs=epochs), param_scheduler=schedulers))


def test_schedules_end_with_the_run():
    cfg = config_with(
        [
            dict(type='LinearLR', begin=0, end=2),
            dict(type='CosineAnnealingLR', T_max=6, begin=2, end=8),
            dict(type='CosineAnnealingLR', T_max=8),
            dict(type='CosineWeightDecay', begin=0, end=8),
            dict(type='LinearLR', by_epoch=False, begin=0, end=8),
        ]
    )
    stretch_schedule(cfg, 20, with_warmup=False)
    assert cfg.train_cfg.max_epochs == 20
    first, second, third, fourth, fifth = cfg.param_scheduler
    assert (first.begin, first.end) == (0, 2)
    assert (second.T_max, second.begin, second.end) == (18, 2, 20)
    assert third.T_max == 20
    assert fourth.end == 20
    # Of iterations.
    assert fifth.end == 8


@pytest.mark.parametrize('config', ['hvs_dino_300e', 'hvs_simclr_200e', 'hvs_simsiam_100e'])
def test_schedules_of_configs_end_with_the_run(config):
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    stretch_schedule(cfg, 40, with_warmup=False)
    ends = [scheduler.get('end') for scheduler in cfg.param_scheduler]
    assert ends.count(40) == len([end for end in ends if end != 10])
    for scheduler in cfg.param_scheduler:
        if 'T_max' in scheduler:
            assert scheduler.T_max == 40 - scheduler.get('begin', 0)


def test_without_schedules_only_the_length_changes():
    cfg = config_with(None)
    stretch_schedule(cfg, 3, with_warmup=False)
    assert cfg.train_cfg.max_epochs == 3


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (config_with([dict(type='StepLR', step_size=3)]), 'no entry of param_scheduler has that'),
        (
            config_with([dict(type='CosineAnnealingLR', begin=5, end=8)]),
            'epochs=4 the run is over when CosineAnnealingLR begins, at epoch 5',
        ),
        (Config(dict(train_cfg=dict(max_iters=9))), r'train_cfg\.max_epochs is missing'),
    ],
)
def test_lengths_that_nothing_is_known_of_are_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        stretch_schedule(cfg, 4, with_warmup=False)


def test_warmups_are_stretched_too():
    cfg = Config.fromfile(CONFIGS / 'hvs_dino_300e.py')
    stretch_schedule(cfg, 60)
    warmup, cosine, decay = cfg.param_scheduler
    assert (warmup.begin, warmup.end) == (0, 2)
    assert (cosine.begin, cosine.end) == (2, 60)
    assert decay.end == 60
    assert cfg.model.algorithm.head.warmup_teacher_temp_epochs == 6
    # All warm-ups fit into any length.
    cfg = Config.fromfile(CONFIGS / 'hvs_dino_300e.py')
    stretch_schedule(cfg, 2)
    assert [s.get('begin', 0) < s.end <= 2 for s in cfg.param_scheduler] == [True] * 3


# --- Hard views -------------------------------------------------------------------------------


def test_hard_views_by_text():
    cfg = get_config(SIMSIAM)
    assert add_hard_views(cfg, '4:2').to_dict() == harden(SIMSIAM, [4], [2]).to_dict()
    dino = Config.fromfile(CONFIGS / 'baselines/dino_vit-small_100e.py')
    assert add_hard_views(dino, '2,2,16:1,1,8').model.candidates == [2, 2, 16]


def test_hard_views_of_two_view_pipelines():
    """Four candidates are two of each, and five are three and two."""
    for text, candidates in (('4:2', [2, 2]), ('5:2', [3, 2]), ('2,3:1,1', [2, 3])):
        cfg = add_hard_views(get_config(MOCOV3), text)
        assert (cfg.model.candidates, cfg.model.keep) == (candidates, [1, 1])
    with pytest.raises(
        ValueError, match=r'candidates=\[4\] must have one number for each of the 2'
    ):
        add_hard_views(get_config(SWAV), '4:2')
    assert add_hard_views(get_config(SWAV), '4,6:2,6').model.candidates == [4, 6]


@pytest.mark.parametrize('text', ['4', '4:', '4-2', 'a:b', '4:2:1', ''])
def test_other_texts(text):
    with pytest.raises(ValueError, match=r'--hard-views .* expected candidates and kept views'):
        add_hard_views(get_config(SIMSIAM), text)


# --- Images -----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    write_images(folder / 'train', class_names(['cat', 'dog', 'eel'], 3))
    write_images(folder / 'val', class_names(['cat', 'dog', 'eel'], 2))
    return folder


def test_images_for_pretraining(folders):
    cfg = get_config(SIMSIAM)
    pipeline = cfg.train_dataloader.dataset.pipeline
    use_images(cfg, find_images(folders))
    assert cfg.train_dataloader.dataset == dict(
        type='CustomDataset',
        data_root=str(folders),
        data_prefix='train',
        with_label=False,
        pipeline=pipeline,
    )


def test_images_instead_of_shapes(folders):
    """Which are drawn, so that nothing reads them."""
    cfg = Config.fromfile(CONFIGS / 'demo/hvs_simsiam.py')
    pipeline = list(cfg.train_dataloader.dataset.pipeline)
    use_images(cfg, find_images(folders))
    read, *others = cfg.train_dataloader.dataset.pipeline
    assert (read, others) == (dict(type='LoadCheckedImage'), pipeline)
    assert cfg.default_hooks.bad_images == dict(type='BadImagesHook')


def test_images_for_a_classifier(folders):
    cfg = Config.fromfile(CONFIGS / 'benchmarks/linear_resnet50.py')
    use_images(cfg, find_images(folders))
    assert build_model(cfg).head.num_classes == 3
    assert cfg.data_preprocessor.num_classes == 3
    assert cfg.val_evaluator.topk == cfg.model.head.topk == (1,)
    for name, prefix in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert (dataset.data_prefix, dataset.with_label) == (prefix, True)
    with pytest.raises(ValueError, match=r'needs labels: put the images into train/CLASS/'):
        use_images(cfg, find_images(folders / 'train'))
