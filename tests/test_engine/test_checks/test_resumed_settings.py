"""What is said of settings that differ from those of the checkpoint of a run."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from hvs_mm import get_config
from hvs_mm.engine.checks.resumed_settings import (
    changed_settings,
    check_settings,
    describe_changes,
    settings_in_effect,
)


def changes(options, name='hvs_mm::demo/hvs_dino.py'):
    cfg = get_config(name)
    before = cfg.pretty_text
    cfg.merge_from_dict(options)
    return changed_settings(before, cfg.pretty_text)


@pytest.mark.parametrize(
    ('options', 'kind', 'text'),
    [
        # The faults: silently ignored, or silently mixed.
        (
            {'optim_wrapper.optimizer.lr': 1.0},
            'ineffective',
            'optim_wrapper.optimizer.lr=1.0 (was ',
        ),
        ({'optim_wrapper.optimizer.weight_decay': 1.0}, 'ineffective', 'weight_decay=1.0 (was '),
        ({'model.candidates': [2, 2, 9]}, 'of_another_run', 'model.candidates=[2, 2, 9] (was ['),
        ({'model.selector': 'easiest'}, 'of_another_run', "model.selector='easiest' (was "),
        ({'optim_wrapper.type': 'AutocastOptimWrapper'}, 'of_another_run', 'optim_wrapper.type='),
        (
            {'train_dataloader.dataset.pipeline.0.transforms.0.0.crop_ratio_range': (0.1, 1)},
            'of_another_run',
            'train_dataloader.dataset.pipeline.0.transforms.0.0.crop_ratio_range=(0.1, 1) (was (0',
        ),
        ({'custom_hooks.0.momentum': 0.5}, 'of_another_run', 'custom_hooks/TeacherHook.momentum'),
        # What may change from start to start.
        ({'train_dataloader.batch_size': 7}, 'effective', 'train_dataloader.batch_size=7 (was '),
        ({'train_dataloader.dataset.data_root': '/scratch/job7'}, 'effective', "='/scratch/job7'"),
        ({'train_dataloader.dataset.shards': 'x-{0..9}.tar'}, 'effective', 'dataset.shards='),
        ({'train_cfg.max_epochs': 99}, 'effective', 'train_cfg.max_epochs=99 (was '),
        ({'default_hooks.logger.interval': 3}, 'effective', 'default_hooks.logger.interval=3'),
    ],
)
def test_kinds(options, kind, text):
    changed = changes(options)
    (found,) = getattr(changed, kind)
    assert text in found
    assert sum(map(len, changed)) == 1
    assert len(describe_changes(changed)) == 1


def test_settings_without_effect_are_not_recorded():
    before = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), a=[dict(b=1)]))
    after = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)), a=[dict(b=2)]))
    found = settings_in_effect(before.pretty_text, after.pretty_text)
    after.optim_wrapper.optimizer.lr = 0.1
    assert changed_settings(after.pretty_text, found) == ([], [], [])
    assert changed_settings(before.pretty_text, found).ineffective == []
    # Of a setting that only one of them has, the next resume tells as well.
    after.optim_wrapper.optimizer.momentum = 0.9
    found = settings_in_effect(before.pretty_text, after.pretty_text)
    assert len(changed_settings(before.pretty_text, found).ineffective) == 1


def test_what_is_no_change():
    options = {'work_dir': 'x', 'resume': True, 'load_from': 'x.pth', 'view_pipeline': []}
    assert changes(options) == ([], [], [])
    # A checkpoint of somebody else.
    for text in (None, '', 'not ( python', 'import os\nos.remove("x")'):
        assert changed_settings(text, 'model = dict()') is None


def test_refusal():
    before = Config(dict(model=dict(a=1, b=2), optim_wrapper=dict(optimizer=dict(type='SGD'))))
    after = Config(dict(model=dict(a=1, c=2), optim_wrapper=dict(optimizer=dict(type='SGD'))))
    texts = before.pretty_text, after.pretty_text
    message = r'--resume x.pth: model.b=nothing \(was 2\), model.c=2 \(was nothing\) would make it'
    with pytest.raises(ValueError, match=message + '.*--allow-changes'):
        check_settings(*texts, 'x.pth', allow=False)
    check_settings(*texts, 'x.pth', allow=True)
    check_settings(texts[0], texts[0], 'x.pth', allow=False)
    # The state of an optimizer fits no other.
    after.optim_wrapper.optimizer.type = 'AdamW'
    with pytest.raises(ValueError, match=r"optimizer.type='AdamW' \(was 'SGD'\), and the check"):
        check_settings(texts[0], after.pretty_text, 'x.pth', allow=True)
