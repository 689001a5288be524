"""Which runs are checked, and which pass."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from hvs_mm.engine import error_line, preflight
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_classifier import classifier_config
from tests.helpers.tiny_dino import dino_config as dino


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


def test_classes_in_place_of_names():
    from hvs_mm.datasets import ShapesDataset
    from hvs_mm.models import HVSAlgorithm

    cfg = config()
    cfg.model.type = HVSAlgorithm
    cfg.train_dataloader.dataset.type = ShapesDataset
    preflight(cfg)


def test_a_good_classifier_passes(folders, checkpoint):
    preflight(classifier_config(folders, checkpoint))


def test_what_a_tool_prints():
    assert error_line(KeyError('a\n  b')) == 'error: a b'
    assert error_line(ValueError('no')) == 'error: no'
    assert error_line(ImportError('no module x')) == 'error: no module x'
    assert error_line(ImportError("No module named 'mmdet'")).endswith('run "make detection".')


def dino_config(**extra) -> Config:
    cfg = config(custom_hooks=[dict(type='TeacherHook')], **extra)
    cfg.model = dino('DINO')
    return cfg
