"""Configs with selection differ from their baselines in the selection alone."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import HOOKS, MODELS, TRANSFORMS

from hvs_mm import harden
from hvs_mm.datasets import CandidateViews
from hvs_mm.engine import check_overrides
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import build_selector
from tests.helpers.configs import CONFIGS, baseline_of, build_on_meta, load, without_scope

HVS_CONFIGS = [
    path
    for folder in ('.', 'demo', 'cifar10')
    for path in sorted((CONFIGS / folder).glob('hvs_*.py'))
    if not path.stem.endswith('_fast')
]
FAST_CONFIGS = sorted(CONFIGS.glob('hvs_*_fast.py'))
DEVICE_CONFIGS = sorted((CONFIGS / 'device_photometry').glob('*.py'))
#: Hooks that the demos add.
DEMO_HOOKS = {
    'selection': {'type': 'SelectionStatsHook', 'interval': 16},
    'panel': {'type': 'SelectionPanelHook'},
}

#: Entries that selection may add to a baseline, or change.
ALLOWED = {
    # Resumes a killed run.
    'runner_type',
    'custom_imports',
    # Upstream's baselines lack it.
    'default_hooks.finite_step',
    'default_hooks.health',
    # Reports images that were skipped.
    'default_hooks.bad_images',
    # Show the selection.
    'default_hooks.panel',
    'default_hooks.selection',
    'log_processor',
    'model',
    'train_dataloader.collate_fn',
    'train_dataloader.dataset.pipeline',
    # The name of the demo's pipeline, which its data loader takes by reference.
    'train_pipeline',
}


def differences(first: Any, second: Any, path: str = '') -> set[str]:
    """Dotted keys of the values that differ, not descending into those allowed to."""
    if path in ALLOWED:
        return set() if first == second else {path}
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            key
            for part in first.keys() | second.keys()
            for key in differences(
                first.get(part), second.get(part), f'{path}.{part}' if path else part
            )
        }
    return set() if first == second else {path}


def drawing_step(cfg: Config) -> Any:
    (step,) = (s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'CandidateViews')
    return step


@pytest.mark.parametrize('path', [*HVS_CONFIGS, *DEVICE_CONFIGS], ids=lambda path: path.name)
def test_it_is_the_hardened_baseline(path):
    cfg = load(path)
    hardened = harden(
        baseline_of(path),
        cfg.model.candidates,
        cfg.model.keep,
        num_views=drawing_step(cfg).num_views,
        selector=cfg.model.get('selector'),
        photometry='device' if path in DEVICE_CONFIGS else 'loader',
    )
    if path.parent.name == 'demo':
        hardened.default_hooks.update(DEMO_HOOKS)
    assert without_scope(cfg.to_dict()) == without_scope(hardened.to_dict())


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_only_the_selection_differs(path):
    cfg, baseline = load(path), baseline_of(path)
    ours, theirs = without_scope(cfg.to_dict()), without_scope(baseline.to_dict())
    assert differences(ours, theirs) <= ALLOWED
    assert ours['model']['algorithm'] == theirs['model']
    assert ours['model']['type'] == 'HVSAlgorithm'
    assert set(ours['model']) - {'selector'} == {'type', 'algorithm', 'candidates', 'keep'}


@pytest.mark.parametrize('path', [*HVS_CONFIGS, *FAST_CONFIGS, *DEVICE_CONFIGS], ids=str)
def test_the_published_choice_is_the_default(path):
    """Of DINO and iBOT on ImageNet; the demos and CIFAR-10 keep the hardest of all."""
    cfg, name = load(path), path.stem.split('_')[1]
    is_small = path.parent.name in ('demo', 'cifar10')
    limit = {'type': 'hardest', 'max_comparisons': 64}
    assert cfg.model.get('selector') == (limit if name == 'dino' and not is_small else None)
    views = (cfg.model.candidates, cfg.model.keep, drawing_step(cfg).num_views)
    if name == 'ibot' and not is_small:
        local = [10] if len(cfg.model.keep) == 3 else []
        assert views == ([2, 2, *local], [1, 1, *local], [1, 3, *local])
    else:
        assert views[0] == views[2]


def test_the_hardest_of_all_combinations():
    """As the configs say."""
    cfg = deepcopy(load(CONFIGS / 'hvs_dino_300e.py'))
    options = {'model.selector.max_comparisons': None}
    check_overrides(cfg, options)
    cfg.merge_from_dict(options)
    assert build_selector(cfg.model.selector).max_comparisons is None


@pytest.mark.parametrize(
    'path',
    [*HVS_CONFIGS, *FAST_CONFIGS, *sorted((CONFIGS / 'baselines').glob('*.py'))],
    ids=lambda path: path.name,
)
def test_steps_of_numbers_that_are_not_finite_are_skipped(path):
    hook = HOOKS.build(load(path).default_hooks.finite_step)
    # The loss scaler of float16 may skip so many at the start.
    assert hook.max_consecutive > 16


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_the_views_are_the_baselines_but_more(path):
    cfg, baseline = load(path), baseline_of(path)
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    theirs = {step['type']: step for step in baseline.train_dataloader.dataset.pipeline}
    views, multiview = steps['CandidateViews'], theirs['MultiView']
    assert without_scope(views['transforms']) == without_scope(multiview['transforms'])
    counts = multiview['num_views']
    assert cfg.model.keep == ([counts] if isinstance(counts, int) else counts)
    assert sum(views['num_views']) == sum(cfg.model.candidates)
    assert sum(cfg.model.candidates) > sum(cfg.model.keep)
    # All other steps are the same, except for packing the geometry and skipping broken files.
    same = {'LoadImageFromFile': 'LoadCheckedImage'}
    assert [s for s in steps if s not in ('CandidateViews', 'PackViews')] == [
        same.get(s, s) for s in theirs if s not in ('MultiView', 'PackInputs', 'PackViews')
    ]


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_it_builds(path):
    cfg = load(path)
    model = build_on_meta(path)
    assert isinstance(model, HVSAlgorithm)
    for step in cfg.train_dataloader.dataset.pipeline:
        transform = TRANSFORMS.build(step)
        if step['type'] == 'CandidateViews':
            assert isinstance(transform, CandidateViews)
    # MMEngine would pass the scope that inheriting adds to the function.
    assert cfg.train_dataloader.collate_fn == {'type': 'default_collate'}


def test_there_are_fast_configs():
    assert [path.name for path in FAST_CONFIGS] == [
        'hvs_dino_300e_fast.py',
        'hvs_ibot_300e_fast.py',
        'hvs_simclr_200e_fast.py',
        'hvs_simsiam_100e_fast.py',
    ]


CHEAP = {
    'dino': {'online': 'local', 'dtype': 'bfloat16'},
    'ibot': {'scale': 0.5},
    'simclr': {'dtype': 'bfloat16'},
    'simsiam': {'scale': 0.5},
}


@pytest.mark.parametrize('path', FAST_CONFIGS, ids=lambda path: path.name)
def test_only_the_cost_of_selection_differs(path):
    cfg, full = load(path), baseline_of(path)
    assert path.stem == f'{Path(full.filename).stem}_fast'
    ours, theirs = without_scope(cfg.to_dict()), without_scope(full.to_dict())
    assert ours['model'].pop('selection_pass') == CHEAP[path.stem.split('_')[1]]
    assert ours == theirs
    model = build_on_meta(path)
    # In every step, for every sample.
    assert model.schedule.is_complete
    assert not model.selection_pass.is_exact


def test_there_are_configs():
    assert {path.name for path in HVS_CONFIGS} >= {
        'hvs_simsiam_100e.py',
        'hvs_simsiam_200e.py',
        'hvs_simclr_200e.py',
        'hvs_byol_200e.py',
        'hvs_mocov3_vit-small_300e.py',
        'hvs_mocov3_resnet50_100e.py',
        'hvs_mocov2_200e.py',
        'hvs_barlowtwins_300e.py',
        'hvs_swav_200e.py',
        'hvs_densecl_200e.py',
        'hvs_vicreg_100e.py',
        'hvs_simsiam.py',
        'hvs_dino_100e.py',
        'hvs_dino_300e.py',
        'hvs_dino_vit-base_400e.py',
        'hvs_dino_resnet50_100e.py',
        'hvs_ibot_100e.py',
        'hvs_ibot_300e.py',
        'hvs_ibot_vit-base_400e.py',
        'hvs_dino.py',
        'hvs_ibot.py',
        'hvs_simclr.py',
        'hvs_mocov2.py',
        'hvs_mocov3.py',
        'hvs_densecl.py',
        'hvs_barlowtwins.py',
        'hvs_swav.py',
        'hvs_vicreg.py',
    }


# --- Photometry on the device ----------------------------------------------------------------

SWITCH = {
    'data_preprocessor.type': 'DevicePhotometry',
    'train_dataloader.dataset.pipeline.1.photometry': 'device',
}


def test_there_are_configs_with_photometry_on_the_device():
    assert [path.stem for path in DEVICE_CONFIGS] == [
        f'hvs_{name}_device' for name in ('dino_300e', 'ibot_300e', 'simclr_200e', 'simsiam_100e')
    ]


@pytest.mark.parametrize('path', DEVICE_CONFIGS, ids=lambda path: path.name)
def test_only_the_place_of_photometry_differs(path):
    """From the config of that name, and from the same switch on the command line."""
    cfg, plain = load(path), load(CONFIGS / f'{path.stem.removesuffix("_device")}.py')
    assert differences(cfg.to_dict(), plain.to_dict()) == {
        'data_preprocessor.type',
        'train_dataloader.dataset.pipeline',
    }
    plain = deepcopy(plain)
    check_overrides(plain, SWITCH)
    plain.merge_from_dict(SWITCH)
    assert cfg.to_dict() == plain.to_dict()


@pytest.mark.parametrize('path', [*HVS_CONFIGS, *DEVICE_CONFIGS], ids=lambda path: path.name)
def test_photometry_can_be_on_the_device(path):
    """Every pipeline of this package: no transform in it is refused."""
    cfg = load(path)
    TRANSFORMS.build({**drawing_step(cfg), 'photometry': 'device'})
    preprocessor = MODELS.build({**cfg.data_preprocessor, 'type': 'DevicePhotometry'})
    upstream = MODELS.build({**cfg.data_preprocessor, 'type': 'SelfSupDataPreprocessor'})
    assert torch.equal(preprocessor.mean, upstream.mean)


# --- Starting from a backbone ----------------------------------------------------------------

INIT = 'model.algorithm.backbone.init_cfg'


def with_small_network(cfg: Config) -> dict[str, Any]:
    model = cfg.model.algorithm
    model.backbone.arch = dict(embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=24)
    model.neck.update(in_channels=24, out_channels=16, hidden_channels=16, bottleneck_channels=8)
    model.head.out_channels = 16
    return cfg.model


@pytest.mark.parametrize(
    ('way', 'name'), [('config', 'hvs_dino_300e'), ('command line', 'hvs_ibot_300e')]
)
def test_start_from_a_backbone(tmp_path, way, name):
    """As docs/weights.md shows it; the teacher follows."""
    source = MODELS.build(with_small_network(deepcopy(load(CONFIGS / f'{name}.py'))))
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_()
    weights = {k: v for k, v in source.state_dict().items() if k.startswith('backbone.')}
    path = str(tmp_path / 'backbone.pth')
    torch.save({'state_dict': weights}, path)
    if way == 'config':
        child = tmp_path / 'child.py'
        child.write_text(
            f'_base_ = {str(CONFIGS / f"{name}.py")!r}\n'
            'model = dict(algorithm=dict(backbone=dict(init_cfg=dict(\n'
            f"    _delete_=True, type='PretrainedBackbone', checkpoint={path!r}))))\n"
        )
        cfg = Config.fromfile(child)
    else:
        cfg = deepcopy(load(CONFIGS / f'{name}.py'))
        options = {f'{INIT}.type': 'PretrainedBackbone', f'{INIT}.checkpoint': path}
        check_overrides(cfg, options)
        cfg.merge_from_dict(options)
    model = MODELS.build(with_small_network(cfg))
    model.init_weights()
    for prefix in ('', 'teacher.'):
        for key, value in weights.items():
            assert torch.equal(model.state_dict()[prefix + key], value), prefix + key
