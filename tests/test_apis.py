from __future__ import annotations

from copy import deepcopy

import pytest

from hvs_mm.apis import get_config, on_data_set


def test_own_configs():
    cfg = get_config('hvs_mm::hvs_simsiam_100e.py')
    assert cfg.model.type == 'HVSAlgorithm'
    assert cfg.model.algorithm.type == 'SimSiam'
    assert get_config('hvs_mm::demo/hvs_simsiam.py').train_cfg.max_epochs == 8


def test_configs_of_other_packages():
    name = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'
    assert get_config(name).model.type == 'SimSiam'


def test_unknown_config():
    with pytest.raises(FileNotFoundError, match=r'hvs_simclr_200e\.py'):
        get_config('hvs_mm::nothing.py')
    with pytest.raises(FileNotFoundError, match=r'did you mean hvs_mm::hvs_dino_100e\.py'):
        get_config('hvs_mm::hvs_dino_10e.py')


def test_a_recipe_on_a_data_set():
    pipelines = [[dict(type=kind), dict(type='PackInputs')] for kind in ('Load', 'LoadToo')]
    base = dict(
        num_classes=3,
        train_set=dict(type='Mine', split='train'),
        test_set=dict(type='Mine', split='test'),
        load_image=dict(type='PILToNumpy'),
        train_pipeline=pipelines[0],
        test_pipeline=pipelines[1],
    )
    before = deepcopy(base)
    entries = on_data_set(base)
    assert entries['model']['head'] == entries['data_preprocessor'] == dict(num_classes=3)
    steps = [dict(type='PILToNumpy'), dict(type='PackInputs')]
    for loader, split in (('train', 'train'), ('val', 'test'), ('test', 'test')):
        dataset = entries[f'{loader}_dataloader']['dataset']
        assert dataset == dict(_delete_=True, type='Mine', split=split, pipeline=steps)
        dataset['pipeline'][1]['type'] = 'X'
    assert base == before
