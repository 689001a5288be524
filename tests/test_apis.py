from __future__ import annotations

from copy import deepcopy

import pytest

from hvs_mm.apis import get_config, high_resolution, on_data_set
from hvs_mm.recipes.adapt import stretch_schedule


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


def test_last_epochs_at_high_resolution():
    """Crops of the last 8 of 100 epochs; their epoch follows the length of the run."""
    cfg = get_config('hvs_mm::high_resolution/hvs_dinov2_vit-small.py')
    base = get_config('hvs_mm::hvs_dinov2_vit-small.py')
    *hooks, switch = cfg.custom_hooks
    assert hooks == base.custom_hooks
    (recipe,) = switch.schedule
    assert recipe.action_epoch == 93
    views = [step for step in recipe.train_pipeline if step.type == 'CandidateViews']
    assert [transforms[0].scale for transforms in views[0].transforms] == [518, 518, 98]
    for transforms, size in zip(views[0].transforms, (224, 224, 98)):
        transforms[0].scale = size
    assert recipe.train_pipeline == base.train_dataloader.dataset.pipeline
    stretch_schedule(cfg, 25)
    assert recipe.action_epoch == 24


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(epochs=101, sizes=[518, 518, 98]), r'epochs=101 .* from 1 to the 100 epochs'),
        (
            dict(epochs=8, sizes=[518, 98]),
            r'sizes=\[518, 98\] must have one size for each of the 3',
        ),
        (
            dict(epochs=8, sizes=[520, 520, 98]),
            r'520 is no multiple of patch_size=14, take 518 or 532',
        ),
    ],
)
def test_high_resolution_that_does_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        high_resolution(get_config('hvs_mm::hvs_dinov2_vit-small.py'), **settings)
