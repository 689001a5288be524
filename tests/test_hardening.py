"""Configs with hard views made from those of baselines."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.datasets import ImageNet
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS

import hvs_mm
from hvs_mm import HVSAlgorithm, get_config, hard_views, harden
from hvs_mm.datasets import PackViews
from hvs_mm.engine import build_model, build_training_dataset, check_overrides
from hvs_mm.selection import COLOR_CHANGES
from tests.helpers.configs import CONFIGS, baseline_of, load, without_scope
from tests.helpers.tiny_classifier import write_folders

ROOT = CONFIGS.parent
SIMSIAM = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'
BYOL = 'mmpretrain::byol/byol_resnet50_16xb256-coslr-200e_in1k.py'
SIMSIAM_DEMO = CONFIGS / 'demo' / 'simsiam.py'
DINO_DEMO = CONFIGS / 'demo' / 'dino.py'


def pipeline_of(cfg: Config) -> list[dict[str, Any]]:
    return cfg.train_dataloader.dataset.pipeline


# --- What becomes of a baseline ---------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'candidates', 'keep'),
    [
        (SIMSIAM, [4], [2]),
        ('mmpretrain::simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py', [6], [2]),
        (BYOL, [2, 3], [1, 1]),
    ],
)
def test_upstreams_configs(name, candidates, keep):
    baseline, cfg = hvs_mm.get_config(name), harden(name, candidates, keep)
    assert cfg.model == dict(
        type='HVSAlgorithm', algorithm=baseline.model, candidates=candidates, keep=keep
    )
    load_step, views, pack = pipeline_of(cfg)
    assert load_step == dict(type='LoadCheckedImage')
    assert views == dict(
        type='CandidateViews',
        num_views=candidates,
        transforms=pipeline_of(baseline)[1]['transforms'],
    )
    assert pack == dict(type='PackViews')
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    assert cfg.runner_type == 'mmpretrain.ReliableRunner'
    assert cfg.custom_imports == dict(imports=['hvs_mm'], allow_failed_imports=False)
    assert cfg.log_processor == Config.fromfile(CONFIGS / '_base_/hvs.py').log_processor
    added = dict(
        finite_step=dict(type='FiniteStepHook'),
        health=dict(type='HealthHook'),
        selection=dict(type='SelectionStatsHook'),
        bad_images=dict(type='BadImagesHook'),
    )
    assert cfg.default_hooks == {**baseline.default_hooks, **added}
    rest = ('model', 'train_dataloader', 'default_hooks')
    assert all(cfg[key] == value for key, value in baseline.items() if key not in rest)
    loader, theirs = dict(cfg.train_dataloader), dict(baseline.train_dataloader)
    for one in (loader, theirs):
        one['dataset'] = {k: v for k, v in one['dataset'].items() if k != 'pipeline'}
    assert loader == theirs


@pytest.mark.parametrize(
    ('candidates', 'keep', 'combinations'),
    [
        # As automl/hvp does for iBOT: one of either pipeline, one of the second.
        ([2, 2], [1, 1], [(0, 2), (0, 3), (1, 2), (1, 3)]),
        ([4], [2], [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
    ],
)
def test_groups_with_views_of_several_pipelines(candidates, keep, combinations):
    cfg = harden(CONFIGS / 'demo' / 'ibot.py', candidates, keep, num_views=[1, 3])
    assert (cfg.model.candidates, cfg.model.keep) == (candidates, keep)
    assert pipeline_of(cfg)[0].num_views == [1, 3]
    # Solarized by the second pipeline alone, and now always.
    pipeline_of(cfg)[0].transforms[1][-1].prob = 1.0
    dataset = build_training_dataset(cfg)
    batch = [dataset[number] for number in range(4)]
    samples = [item['data_samples'] for item in batch]
    colors = np.stack([sample.view_colors for sample in samples])
    solarized = colors[:, :, COLOR_CHANGES.index('solarize')]
    assert solarized.tolist() == [[0, 1, 1, 1]] * 4
    model = build_model(cfg)
    views = [torch.stack([item['inputs'][n] for item in batch]).float() / 255 for n in range(4)]
    selection = model.select_views(views, samples)
    assert selection.groups.target_combinations() == combinations
    assert {tuple(kept) for kept in selection.indices.tolist()} <= set(combinations)
    assert model.loss(views, samples)['loss'].isfinite()


def test_what_a_baseline_is_given_as():
    cfg = Config.fromfile(SIMSIAM_DEMO)
    before = deepcopy(cfg.to_dict())
    hardened = [
        harden(one, [4], [2]) for one in (cfg, cfg.to_dict(), SIMSIAM_DEMO, f'{SIMSIAM_DEMO}')
    ]
    hardened.append(harden('hvs_mm::demo/simsiam.py', [4], [2]))
    assert all(one.to_dict() == hardened[0].to_dict() for one in hardened)
    assert type(hardened[0]) is Config
    # The baseline is as it was, and changes of the new config do not reach it.
    hardened[0].model.algorithm.backbone.depth = 50
    pipeline_of(hardened[0])[0].transforms[0][0].scale = 7
    assert cfg.to_dict() == before


def test_a_baseline_of_ours_by_name():
    limit = dict(type='hardest', max_comparisons=64)
    cfg = harden('hvs_mm::baselines/dino_vit-small_100e.py', [2, 2, 16], [1, 1, 8], selector=limit)
    assert cfg.to_dict() == load(CONFIGS / 'hvs_dino_100e.py').to_dict()


def test_settings_of_the_selection():
    settings = dict(
        selector=dict(type='hardest', max_comparisons=8),
        pair_loss=dict(type='DINOPairLoss'),
        target_groups=[0, 1],
        selection_pass=dict(scale=0.5, online='local'),
        schedule=dict(warmup=3),
    )
    model = harden(DINO_DEMO, [2, 2, 8], [1, 1, 4], **settings).model
    assert {name: model[name] for name in settings} == settings
    defaults = harden(DINO_DEMO, (2, 2, 8), (1, 1, 4)).model
    assert set(defaults) == {'type', 'algorithm', 'candidates', 'keep'}
    # As a dumped config has them.
    assert (defaults.candidates, defaults.keep) == ([2, 2, 8], [1, 1, 4])


def test_the_masks_of_ibot_stay_in_their_place():
    cfg = harden(CONFIGS / 'demo' / 'ibot.py', [2, 2], [1, 1])
    assert [step.type for step in pipeline_of(cfg)] == ['CandidateViews', 'BlockMasks', 'PackViews']
    # No files are read, so none can be broken.
    assert 'bad_images' not in cfg.default_hooks


def wrapped(dataset: dict[str, Any], wrapper: str) -> dict[str, Any]:
    if wrapper == 'RepeatDataset':
        return dict(type=wrapper, times=2, dataset=dataset)
    return dict(type=wrapper, datasets=[dataset, dict(type='RepeatDataset', dataset=dataset)])


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ConcatDataset'])
def test_data_sets_inside_of_wrappers(wrapper):
    cfg = hvs_mm.get_config(SIMSIAM)
    plain = harden(cfg, [4], [2])
    inner = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = wrapped(inner, wrapper)
    hardened = harden(cfg, [4], [2])
    dataset = plain.train_dataloader.dataset.to_dict()
    assert hardened.train_dataloader.dataset.to_dict() == wrapped(dataset, wrapper)
    assert hardened.default_hooks.bad_images == dict(type='BadImagesHook')


def test_what_a_baseline_chooses_itself_stays():
    cfg = hvs_mm.get_config(SIMSIAM)
    own = dict(
        runner_type='MyRunner',
        custom_imports=dict(imports='my_package', allow_failed_imports=True),
        log_processor=dict(window_size=7, mean_pattern='.*'),
    )
    cfg.merge_from_dict(own)
    cfg.default_hooks.update(
        finite_step=dict(type='FiniteStepHook', max_consecutive=50), selection=None
    )
    cfg.train_dataloader.collate_fn = dict(type='my_collate', _scope_='mmpretrain', x=1)
    load_step, views, pack = pipeline_of(cfg)
    load_step.imdecode_backend = 'pillow'
    views.update(type='mmpretrain.CandidateViews', exact=True)
    pack.meta_keys = ['img_path', 'mine']
    hardened = harden(cfg, [4], [2])
    assert hardened.runner_type == 'MyRunner'
    assert hardened.custom_imports == dict(
        imports=['my_package', 'hvs_mm'], allow_failed_imports=True
    )
    assert hardened.log_processor == own['log_processor']
    assert hardened.default_hooks.finite_step.max_consecutive == 50
    assert hardened.default_hooks.selection is None
    assert hardened.train_dataloader.collate_fn == dict(type='my_collate', x=1)
    load_step, views, pack = pipeline_of(hardened)
    assert load_step == dict(type='LoadCheckedImage', imdecode_backend='pillow')
    assert views.exact
    # The geometry is packed, too.
    assert set(pack.meta_keys) == {*PackViews.DEFAULT_META_KEYS, 'img_path', 'mine'}


def test_a_config_without_what_others_inherit():
    minimal = dict(
        model=dict(type='SimSiam'),
        train_dataloader=dict(
            dataset=dict(
                type='ImageNet',
                pipeline=[dict(type='MultiView', num_views=2, transforms=[[]])],
            )
        ),
    )
    cfg = harden(minimal, [4], [2])
    assert cfg.train_dataloader == dict(
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ImageNet',
            pipeline=[dict(type='CandidateViews', num_views=[4], transforms=[[]])],
        ),
    )
    assert cfg.default_hooks.keys() == {'finite_step', 'health', 'selection'}


@pytest.mark.parametrize('photometry', ['device', 'device_views'])
@pytest.mark.parametrize('inside', [False, True])
def test_photometry_on_the_device(inside, photometry):
    cfg = hvs_mm.get_config(SIMSIAM)
    preprocessor = cfg.data_preprocessor.to_dict()
    if inside:
        cfg.model.data_preprocessor = cfg.pop('data_preprocessor')
    hardened = harden(cfg, [4], [2], photometry=photometry)
    found = hardened.model.algorithm if inside else hardened
    assert found.data_preprocessor == {**preprocessor, 'type': 'DevicePhotometry'}
    assert pipeline_of(hardened)[1].photometry == photometry
    collate_fn = 'join_images' if photometry == 'device_views' else 'default_collate'
    assert hardened.train_dataloader.collate_fn == dict(type=collate_fn)
    assert inside != ('data_preprocessor' in hardened)


# --- Errors -------------------------------------------------------------------------------------


def without_views() -> Config:
    cfg = Config.fromfile(SIMSIAM_DEMO)
    cfg.train_dataloader.dataset.pipeline = [dict(type='Resize', scale=8), dict(type='PackInputs')]
    return cfg


def of_another_preprocessor() -> Config:
    cfg = Config.fromfile(SIMSIAM_DEMO)
    cfg.data_preprocessor.type = 'TwoNormDataPreprocessor'
    return cfg


METHODS = r"\['BYOL', 'BarlowTwins', 'DINO', 'DINOv2', 'DenseCL', 'IBOT', 'MoCo', .*\]"


@pytest.mark.parametrize(
    ('config', 'candidates', 'keep', 'settings', 'error', 'message'),
    [
        (
            'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py',
            [4],
            [2],
            {},
            ValueError,
            rf"model\.type='MAE' reconstructs the masked patches .*: take one of {METHODS}",
        ),
        (
            CONFIGS / 'demo' / 'hvs_simsiam.py',
            [6],
            [2],
            {},
            ValueError,
            r'has hard views already, model\.candidates=\[4\] and model\.keep=\[2\]: pass the '
            'config of its baseline',
        ),
        (SIMSIAM_DEMO, [4], [5], {}, ValueError, r'keep=\[5\] keeps 5 views of group 0, which has'),
        (SIMSIAM_DEMO, 4, [2], {}, TypeError, r'candidates=4 must be a list of integers'),
        (
            CONFIGS / 'demo' / 'linear.py',
            [4],
            [2],
            {},
            ValueError,
            r"model\.type='ImageClassifier' is no self-supervised algorithm of MMPretrain, so it "
            rf'has no views to select: pass the config that pretrains one of {METHODS}',
        ),
        (
            dict(model=dict(type='mmdet.FasterRCNN')),
            [4],
            [2],
            {},
            ValueError,
            r"model\.type='mmdet\.FasterRCNN' is no self-supervised algorithm",
        ),
        (dict(), [4], [2], {}, ValueError, r'model\.type=None is no self-supervised algorithm'),
        (
            dict(model=dict(type='SimSiam')),
            [4],
            [2],
            {},
            ValueError,
            'the config has no train_dataloader with a dataset',
        ),
        (
            without_views(),
            [4],
            [2],
            {},
            ValueError,
            r"train_dataloader\.dataset\.pipeline has the steps \['Resize', 'PackInputs'\], "
            'expected MultiView or CandidateViews once',
        ),
        (
            SIMSIAM_DEMO,
            [2, 2],
            [1, 1],
            {},
            ValueError,
            r'candidates=\[2, 2\] must have one number for each of the 1 view pipelines of '
            r'train_dataloader\.dataset\.pipeline',
        ),
        (
            DINO_DEMO,
            [4],
            [2],
            dict(num_views=[1, 2]),
            ValueError,
            r'num_views=\[1, 2\] draws 3 views, but candidates=\[4\] needs 4: make them equal',
        ),
        (
            DINO_DEMO,
            [4],
            [2],
            dict(num_views=4),
            TypeError,
            'num_views=4 must be a list of positive integers, one per view pipeline',
        ),
        (
            SIMSIAM_DEMO,
            [4],
            [2],
            dict(photometry='gpu'),
            ValueError,
            r"photometry='gpu' must be one of \['loader', 'device', 'device_views'\]",
        ),
        (
            of_another_preprocessor(),
            [4],
            [2],
            dict(photometry='device'),
            ValueError,
            r"data_preprocessor\.type='TwoNormDataPreprocessor'.*photometry='loader'",
        ),
        ('hvs_mm::nothing.py', [4], [2], {}, FileNotFoundError, 'is not among the configs'),
    ],
)
def test_errors(config, candidates, keep, settings, error, message):
    with pytest.raises(error, match=message) as raised:
        harden(config, candidates, keep, **settings)
    assert '\n' not in str(raised.value)


def test_an_algorithm_without_a_pair_loss_of_its_own_may_be_given_one():
    @MODELS.register_module(force=True)
    class Unknown(BaseSelfSupervisor):
        def loss(self, inputs, data_samples):
            raise NotImplementedError

    config = get_config(SIMSIAM)
    config.model.type = 'Unknown'
    with pytest.raises(ValueError, match=r"'Unknown' has no pair loss"):
        harden(config, [4], [2])
    model = harden(config, [4], [2], pair_loss=dict(type='SimSiamPairLoss')).model
    assert model.pair_loss == dict(type='SimSiamPairLoss')


# --- In a config file ---------------------------------------------------------------------------


def printed_config(page: Path) -> str:
    (text,) = re.findall(r'```python\n(_base_ = .*?)```', page.read_text(), re.DOTALL)
    return text


@pytest.mark.parametrize('page', ['README.md', 'docs/training.md'])
def test_the_printed_config_runs(page, tmp_path):
    """Its text in a file, with a smaller network and images that are there."""
    path = tmp_path / 'mine.py'
    path.write_text(printed_config(ROOT / page))
    cfg = Config.fromfile(path)
    assert without_scope(cfg.to_dict()) == without_scope(
        harden(baseline_of(path), [4], [2], selector=cfg.model.get('selector')).to_dict()
    )
    options = {
        'model.selector': 'random',
        'model.algorithm.backbone.depth': 18,
        'model.algorithm.neck.in_channels': 512,
        'train_dataloader.dataset.data_root': str(write_folders(tmp_path)),
        'train_dataloader.dataset.classes': ('cat', 'dog'),
    }
    check_overrides(cfg, options)
    cfg.merge_from_dict(options)
    model = build_model(cfg)
    assert isinstance(model, HVSAlgorithm)
    dataset = build_training_dataset(cfg)
    assert isinstance(dataset, ImageNet)
    sample = dataset[0]
    assert [view.shape for view in sample['inputs']] == [(3, 224, 224)] * 4
    assert sample['data_samples'].view_boxes.shape == (4, 4)


def test_a_dump_says_all(tmp_path):
    path = CONFIGS / 'hvs_ibot_300e.py'
    cfg = load(path)
    cfg.dump(tmp_path / 'dumped.py')
    assert 'hard_views' not in (tmp_path / 'dumped.py').read_text()
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_the_entries_leave_their_base_alone():
    base = Config.fromfile(DINO_DEMO)
    before = deepcopy(base.to_dict())
    entries = hard_views(base, [2, 2, 8], [1, 1, 4], photometry='device')
    entries['model']['algorithm']['type'] = 'X'
    entries['train_dataloader']['dataset']['pipeline'][0]['transforms'][0][0]['scale'] = 1
    assert base.to_dict() == before


def test_a_child_overrides_what_the_entries_set(tmp_path):
    """As studies and fast configs do."""
    path = tmp_path / 'child.py'
    path.write_text(
        f'_base_ = {str(CONFIGS / "demo/hvs_dino.py")!r}\n'
        "model = dict(selector='random', algorithm=dict(head=dict(teacher_temp=0.05)))\n"
    )
    ours, theirs = Config.fromfile(path), load(CONFIGS / 'demo/hvs_dino.py')
    assert ours.model.algorithm.head.teacher_temp == 0.05
    ours.model.algorithm.head.teacher_temp = theirs.model.algorithm.head.teacher_temp
    assert ours.model.pop('selector') == 'random'
    assert ours.to_dict() == theirs.to_dict()
    assert isinstance(MODELS.build(ours.model), HVSAlgorithm)
