"""configs/published/ against the settings of automl/hvp, and a step with each."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from torch import nn

from hvs_mm import harden
from hvs_mm.datasets import ShapesDataset
from hvs_mm.engine import check_overrides
from tests.helpers.configs import CONFIGS, baseline_of, load, without_scope
from tests.helpers.tiny_dino import epoch_of_run

NAMES = ('simsiam', 'simclr', 'dino', 'ibot')
LIMIT = {'type': 'hardest', 'max_comparisons': 64}
#: Candidates, kept views, views per pipeline, selector.
SELECTION = {
    'simsiam': ([4], [2], [4], None),
    'simclr': ([4], [2], [4], None),
    'dino': ([2, 2, 16], [1, 1, 8], [2, 2, 16], LIMIT),
    'ibot': ([2, 2], [1, 1], [1, 3], None),
}
#: What else differs from the baseline, by dotted key.
DIFFERENCES = {
    'simsiam': {
        'lr': 0.1,
        'optim_wrapper.optimizer.lr': 0.1,
        'train_dataloader.batch_size': 64,
        'custom_hooks': [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=0.1)],
    },
    'simclr': {
        'optim_wrapper.optimizer.weight_decay': 1e-4,
        'train_cfg.max_epochs': 100,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
            dict(
                type='CosineAnnealingLR',
                eta_min=1e-6,
                begin=10,
                end=100,
                convert_to_iter_based=True,
            ),
        ],
    },
    'dino': {
        'model.algorithm.backbone.type': 'OffsetVisionTransformer',
        'model.algorithm.backbone.pos_embed_offset': 0.1,
        'custom_hooks': [
            dict(type='TeacherHook', momentum=0.004),
            dict(type='GradientHook', clip=3.0, by='model', freeze_epochs=1),
        ],
    },
    'ibot': {
        'model.algorithm.backbone.pos_embed_offset': 0.1,
        'model.algorithm.head.patch_center': 'all',
        'model.algorithm.head.teacher_temp': 0.04,
    },
}


def path_of(name):
    return CONFIGS / 'published' / f'hvp_{name}.py'


def flat(value, path=''):
    """Dotted keys of a nested dict and their values."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {k: v for key in value for k, v in flat(value[key], f'{path}.{key}'.strip('.')).items()}


def test_every_config_is_tested():
    assert {p.name for p in (CONFIGS / 'published').glob('*.py')} == {
        path_of(name).name for name in NAMES
    }


@pytest.mark.parametrize('name', NAMES)
def test_differences_from_the_hardened_baseline(name):
    candidates, keep, num_views, selector = SELECTION[name]
    hardened = harden(
        baseline_of(path_of(name)), candidates, keep, num_views=num_views, selector=selector
    )
    ours, theirs = (flat(without_scope(cfg.to_dict())) for cfg in (load(path_of(name)), hardened))
    assert ours.keys() >= theirs.keys()
    assert {k: v for k, v in ours.items() if k not in theirs or v != theirs[k]} == (
        DIFFERENCES[name]
    )


def test_rates_of_simsiam():
    """0.05 per 256 images, a cosine by epoch; that of the predictor is fixed."""
    cfg = load(path_of('simsiam'))
    assert 8 * cfg.train_dataloader.batch_size == 512
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, weight_decay=1e-4, momentum=0.9)
    hook = {**cfg.custom_hooks[0]}
    assert hook.pop('priority') == 'HIGH'
    assert HOOKS.build(hook).lr == 0.1
    (schedule,) = cfg.param_scheduler
    assert (schedule.type, schedule.T_max, schedule.by_epoch) == ('CosineAnnealingLR', 100, True)
    (crop, jitter, *_) = baseline_of(path_of('simsiam')).view_pipeline
    assert crop.crop_ratio_range == (0.2, 1.0)
    (colors,) = jitter.transforms
    assert [colors[k] for k in ('brightness', 'contrast', 'saturation', 'hue')] == [0.4] * 3 + [0.1]


def test_rates_of_simclr():
    """Step by step as ``cosine_scheduler`` of the published code: 0.3 per 256 images."""
    cfg, length = load(path_of('simclr')), 3
    assert 16 * cfg.train_dataloader.batch_size == 4096
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    arguments = dict(optimizer=optimizer, epoch_length=length)
    schedulers = [PARAM_SCHEDULERS.build(s, default_args=arguments) for s in cfg.param_scheduler]
    seen = []
    for _ in range(100 * length):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    peak, steps = 0.3 * 4096 / 256, 90 * length
    cosine = 1e-6 + 0.5 * (peak - 1e-6) * (1 + np.cos(np.pi * np.arange(steps) / steps))
    expected = np.concatenate([np.linspace(0, peak, 10 * length), cosine])
    np.testing.assert_allclose(seen, expected, atol=1e-8)


def test_temperatures_of_ibot():
    head = MODELS.build(load(path_of('ibot')).model.algorithm.head)
    for epoch, patches in ((0, 0.04), (29, 0.07), (99, 0.07)):
        with epoch_of_run(epoch, 100):
            assert head.current_teacher_temp() == pytest.approx(0.04)
            assert head.current_patch_teacher_temp() == pytest.approx(patches)


def shrink(cfg):
    """A network of a few channels, on the built-in images."""
    algorithm = cfg.model.algorithm
    if 'ResNet' in algorithm.backbone.type:
        algorithm.backbone.update(depth=18, stem_channels=8, base_channels=8)
        algorithm.neck.update(in_channels=64)
    else:
        arch = dict(embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=24)
        algorithm.backbone.arch = arch
        algorithm.neck.update(in_channels=24, hidden_channels=16, bottleneck_channels=8)
        algorithm.neck.out_channels = algorithm.head.out_channels = 16
    return cfg


@pytest.mark.parametrize('name', NAMES)
def test_a_step(name):
    cfg = shrink(deepcopy(load(path_of(name))))
    candidates, keep, *_ = SELECTION[name]
    load_step, *pipeline = cfg.train_dataloader.dataset.pipeline
    assert load_step.type == 'LoadCheckedImage'
    dataset = ShapesDataset(num_samples=3, pipeline=[TRANSFORMS.build(step) for step in pipeline])
    batch = [dataset[number] for number in range(3)]
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    model.init_weights()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    data = dict(
        inputs=[torch.stack(views) for views in zip(*(item['inputs'] for item in batch))],
        data_samples=[item['data_samples'] for item in batch],
    )
    with epoch_of_run(0, 100):
        losses = model.train_step(data, optim_wrapper)
    assert losses['loss'].isfinite()
    selection = model.last_selection
    assert (list(selection.groups.candidates), list(selection.groups.keep)) == (candidates, keep)
    for span, kept in zip(selection.groups.spans(), selection.indices.split(keep, dim=1)):
        assert ((kept >= span.start) & (kept < span.stop)).all()
    moved = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert any(key.startswith('backbone.') for key in moved)
    assert ('head.center' in moved) == (name in ('dino', 'ibot'))
    assert ('head.patch_center' in moved) == (name == 'ibot')


def test_the_crops_of_ibot_with_local_ones():
    """As the comment in the config says."""
    path = CONFIGS / 'published/hvp_ibot.py'
    text = path.read_text()
    comment = 'candidates=[2, 2, 10], keep=[1, 1, 10], num_views=[1, 3, 10]'
    assert comment in text
    baseline = load(CONFIGS / 'baselines/ibot_vit-small_300e.py')
    cfg = harden(baseline, **eval(f'dict({comment})'))
    check_overrides(cfg, {'model.selector': 'random'})
    views = next(s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'CandidateViews')
    assert views.num_views == [1, 3, 10]
    assert cfg.model.algorithm.head.num_crops == sum(cfg.model.keep)
