from __future__ import annotations

import pytest
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hvs_mm.engine import SelectionStatsHook, TeacherHook, preflight
from hvs_mm.engine.checks.hook_checks import check_selection_hooks
from hvs_mm.visualization import SelectionPanelHook
from tests.helpers.tiny import algorithm_config, build_hvs
from tests.test_engine.test_checks.test_preflight import config, dino_config

SHOWING = ['SelectionStatsHook', 'SelectionPanelHook']


@pytest.mark.parametrize('hook', [*SHOWING, SelectionStatsHook, SelectionPanelHook])
@pytest.mark.parametrize('place', ['default_hooks', 'custom_hooks'])
def test_a_baseline_has_no_selection_to_show(hook, place):
    hooks = {'selection': dict(type=hook)} if place == 'default_hooks' else [dict(type=hook)]
    cfg = Config({place: hooks})
    with pytest.raises(ValueError, match=r'SimSiam selects no views.*leave out the hooks'):
        check_selection_hooks(cfg, MODELS.build(algorithm_config('SimSiam')))
    check_selection_hooks(cfg, build_hvs('SimSiam'))


@pytest.mark.parametrize('hook', SHOWING)
def test_wrong_settings(hook):
    model = build_hvs('SimSiam')
    with pytest.raises(ValueError, match='interval=0 must be'):
        check_selection_hooks(Config({'default_hooks': {'a': dict(type=hook, interval=0)}}), model)
    check_selection_hooks(
        Config({'custom_hooks': [dict(type=hook, interval=3, priority='LOW')]}), model
    )
    with pytest.raises(TypeError, match='every'):
        check_selection_hooks(Config({'custom_hooks': [dict(type=hook, every=3)]}), model)


def test_hooks_that_are_switched_off():
    model = MODELS.build(algorithm_config('SimSiam'))
    for hooks in ({}, {'selection': None}, {'logger': dict(type='LoggerHook')}):
        check_selection_hooks(Config({'default_hooks': hooks, 'custom_hooks': None}), model)


def test_the_check_belongs_to_those_before_a_run():
    cfg = config(custom_hooks=[dict(type='SelectionStatsHook', interval=0)])
    with pytest.raises(ValueError, match='interval=0 must be'):
        preflight(cfg)
    cfg.custom_hooks = [dict(type='SelectionStatsHook')]
    preflight(cfg)


def test_a_teacher_needs_its_hook():
    cfg = dino_config()
    preflight(cfg)
    cfg.custom_hooks[0].type = TeacherHook
    preflight(cfg)
    for hooks in ([], None, [dict(type='ProgressHook')]):
        cfg.custom_hooks = hooks
        with pytest.raises(ValueError, match=r"has no 'TeacherHook', without which .* DINO"):
            preflight(cfg)
    preflight(config())
