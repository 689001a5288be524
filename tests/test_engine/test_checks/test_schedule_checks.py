"""Schedules and precisions that do not fit a run."""

from __future__ import annotations

import pytest
import torch

from hvs_mm.engine import preflight
from tests.helpers.tiny_classifier import classifier_config
from tests.helpers.tiny_dino import dino_config as dino
from tests.test_engine.test_checks.test_preflight import config, dino_config


def test_amp_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = config()
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    with pytest.raises(ValueError, match=r'needs a GPU.*add --amp'):
        preflight(cfg)


def test_a_schedule_that_begins_after_the_run(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    warmup = dict(type='LinearLR', start_factor=0.1, end=5)
    cfg.param_scheduler = [warmup, dict(type='CosineAnnealingLR', begin=5)]
    with pytest.raises(ValueError, match=r'max_epochs=1, but CosineAnnealingLR begins at epoch 5'):
        preflight(cfg)
    cfg.train_cfg.max_epochs = 6
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


def test_a_warmup_longer_than_the_run():
    cfg = config()
    cfg.train_cfg.max_epochs = 3
    # An arm of a study that never selects.
    cfg.model.schedule = dict(warmup=3)
    preflight(cfg)
    cfg.model.schedule = dict(warmup=4)
    with pytest.raises(
        ValueError, match=r'\.schedule\.warmup=4 .* max_epochs=3: lower .* to 3, wh'
    ):
        preflight(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=100)
    cfg.param_scheduler = []
    with pytest.raises(
        ValueError, match=r"\.schedule\.warmup=4 counts epochs.*'IterBasedTrainLoop'"
    ):
        preflight(cfg)


@pytest.mark.parametrize(
    ('selector', 'schedule', 'message'),
    [
        (
            'hardest', dict(dial='temperature'),
            r"HardnessSchedule with dial='temperature' does not fit model\.selector: "
            r"HardestSelector has no dial 'temperature': one of \['max_comparisons'\]\.",
        ),
        (
            'random', dict(dial='temperature'),
            r"HardnessSchedule .*: RandomSelector has no dial 'temperature': it has none\.",
        ),
        (
            dict(type='quantile', quantile=1), dict(dial='quantile', to_value=1.5),
            r"HardnessSchedule with dial='quantile' .*: quantile=1\.5 must be between 0 and 1",
        ),
        (
            dict(type='per_group', local_crops='softened'), dict(dial='temperature'),
            r"no dial 'temperature': one of \['local_crops\.temperature'\]\.",
        ),
        ('softened', dict(dial='temperature', to_value=float('nan')), r'to_value=nan must be a'),
        ('softened', dict(dial='temperature', curve='steps'), r"curve='steps' must be one"),
    ],
)  # fmt: skip
def test_a_schedule_that_does_not_fit_the_selector(selector, schedule, message):
    cfg = config()
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    cfg.model.selector = selector
    cfg.param_scheduler = [
        dict(type='HardnessSchedule', from_value=1, **{'to_value': 0, **schedule})
    ]
    with pytest.raises(ValueError, match=message):
        preflight(cfg)


def test_a_schedule_of_the_selection_that_nothing_connects():
    cfg = config()
    cfg.model.selector = 'softened'
    cfg.param_scheduler = dict(
        type='HardnessSchedule', dial='temperature', from_value=1, to_value=0, by_epoch=True,
        convert_to_iter_based=True,
    )  # fmt: skip
    cfg.pop('runner_type', None)
    with pytest.raises(ValueError, match=r"HardnessSchedule .* set runner_type='mmpretrain\.Relia"):
        preflight(cfg)
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    preflight(cfg)


def test_a_schedule_of_the_selection_without_one():
    cfg = dino_config()
    cfg.model = dino('DINO')
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    cfg.param_scheduler = dict(
        type='HardnessSchedule', dial='temperature', from_value=1, to_value=0
    )
    with pytest.raises(
        ValueError, match=r'the model DINO selects no views: remove it from param_s'
    ):
        preflight(cfg)
