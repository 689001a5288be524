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


def test_a_warmup_that_never_ends():
    cfg = config()
    cfg.train_cfg.max_epochs = 3
    cfg.model.schedule = dict(warmup=2)
    preflight(cfg)
    cfg.model.schedule = dict(warmup=3)
    with pytest.raises(ValueError, match=r'\.schedule\.warmup=3 .* max_epochs=3: .* never be sel'):
        preflight(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=100)
    cfg.param_scheduler = []
    with pytest.raises(
        ValueError, match=r"\.schedule\.warmup=3 counts epochs.*'IterBasedTrainLoop'"
    ):
        preflight(cfg)
