"""Configs with selection differ from their baselines in the selection alone.

The baselines of DINO and iBOT, which upstream does not have, have the published settings.
"""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from torch import nn

from hvs_mm.datasets import CandidateViews
from hvs_mm.engine import check_overrides, cosine_schedule
from hvs_mm.models import HVSAlgorithm
from tests.tiny_dino import epoch_of_run

CONFIGS = Path(__file__).parents[1] / 'configs'
HVS_CONFIGS = [
    path
    for folder in ('.', 'demo', 'cifar10')
    for path in sorted((CONFIGS / folder).glob('hvs_*.py'))
    if not path.stem.endswith('_fast')
]
FAST_CONFIGS = sorted(CONFIGS.glob('hvs_*_fast.py'))

#: What selection may add to or change in a baseline.
ALLOWED = {
    # A run that was killed goes on where it was.
    'runner_type',
    'custom_imports',
    # What upstream's baselines lack.
    'default_hooks.finite_step',
    # What tells of images that were skipped.
    'default_hooks.bad_images',
    # What shows the selection.
    'default_hooks.panel',
    'default_hooks.selection',
    'log_processor',
    'model',
    'train_dataloader.collate_fn',
    'train_dataloader.dataset.pipeline',
    # The name of the demo's pipeline, which its data loader takes by reference.
    'train_pipeline',
}


@cache
def load(path: Path) -> Config:
    """A config, read once: whoever changes it takes a copy."""
    return Config.fromfile(path)


@cache
def baseline_of(path: Path) -> Config:
    """The first base that a config inherits from."""
    namespace: dict[str, Any] = {}
    line = next(x for x in path.read_text().splitlines() if x.startswith('_base_'))
    exec(line, namespace)
    base = namespace['_base_']
    base = base if isinstance(base, str) else base[0]
    if '::' in base:
        from mmengine.hub import get_config

        return get_config(base)
    return load(path.parent / base)


def without_scope(value: Any) -> Any:
    """The value without the scope that inheriting across packages adds."""
    if isinstance(value, dict):
        return {key: without_scope(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [without_scope(item) for item in value]
    return value


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


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_only_the_selection_differs(path):
    cfg, baseline = load(path), baseline_of(path)
    ours, theirs = without_scope(cfg.to_dict()), without_scope(baseline.to_dict())
    assert differences(ours, theirs) <= ALLOWED
    assert ours['model']['algorithm'] == theirs['model']
    assert ours['model']['type'] == 'HVSAlgorithm'
    assert set(ours['model']) == {'type', 'algorithm', 'candidates', 'keep'}


@pytest.mark.parametrize(
    'path',
    [*HVS_CONFIGS, *FAST_CONFIGS, *sorted((CONFIGS / 'baselines').glob('*.py'))],
    ids=lambda path: path.name,
)
def test_steps_of_numbers_that_are_not_finite_are_skipped(path):
    hook = HOOKS.build(load(path).default_hooks.finite_step)
    # What the loss scaler of float16 may skip at the start.
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
    assert views['num_views'] == cfg.model.candidates
    assert sum(cfg.model.candidates) > sum(cfg.model.keep)
    # All other steps are the same, but for packing the geometry and for skipping broken files.
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
    # The scope that inheriting adds would be handed on to the function.
    assert cfg.train_dataloader.collate_fn == {'type': 'default_collate'}


def test_there_are_fast_configs():
    assert [path.name for path in FAST_CONFIGS] == [
        'hvs_dino_300e_fast.py',
        'hvs_ibot_300e_fast.py',
        'hvs_simclr_200e_fast.py',
        'hvs_simsiam_100e_fast.py',
    ]


CHEAP = {
    'dino': {'selection_pass': {'online': 'local', 'dtype': 'bfloat16'}},
    'ibot': {'selection_pass': {'scale': 0.5}},
    'simclr': {'selection_pass': {'dtype': 'bfloat16'}},
    'simsiam': {'selection_pass': {'scale': 0.5}},
}


@pytest.mark.parametrize('path', FAST_CONFIGS, ids=lambda path: path.name)
def test_only_the_cost_of_selection_differs(path):
    cfg, full = load(path), baseline_of(path)
    assert path.stem == f'{Path(full.filename).stem}_fast'
    ours, theirs = without_scope(cfg.to_dict()), without_scope(full.to_dict())
    options = {key: ours['model'].pop(key) for key in set(ours['model']) - set(theirs['model'])}
    assert ours == theirs
    model = build_on_meta(path)
    assert options == CHEAP[path.stem.split('_')[1]]
    # In every step, for every sample.
    assert model.schedule.is_complete
    assert not model.selection_pass.is_exact


def test_there_are_configs():
    assert {path.name for path in HVS_CONFIGS} >= {
        'hvs_simsiam_100e.py',
        'hvs_simsiam_200e.py',
        'hvs_simclr_200e.py',
        'hvs_byol_200e.py',
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
    }


# --- Baselines -------------------------------------------------------------------------------

#: What DINO's and iBOT's authors set, by baseline. ``network`` is (width, layers, heads) of a ViT;
#: crops are (number, side, smallest area, largest area), the two global ones of one kind.
DINO_SMALL = {
    'network': (384, 12, 6),
    'epochs': 100,
    'global': (2, 224, 0.4, 1.0),
    'local': (8, 96, 0.05, 0.4),
    'optimizer': torch.optim.AdamW,
    'lr_per_256': 5e-4,
    'weight_decay': (0.04, 0.4),
    'temperature': (0.04, 0.04),
    'warmup_temperature': 0,
    'prototypes': 65536,
    'fixed_norm': True,
}
WARM_TEACHER = {'temperature': (0.04, 0.07), 'warmup_temperature': 30}
IBOT_SMALL = {
    **DINO_SMALL,
    **WARM_TEACHER,
    'global': (2, 224, 0.14, 1.0),
    'local': None,
    'patch_temperature': (0.04, 0.07),
    'masks': ((0.0, 0.3), (0.0, 0.2)),
    'prototypes': 8192,
    'fixed_norm': False,
}
IBOT_LOCALS = {'global': (2, 224, 0.25, 1.0), 'local': (10, 96, 0.05, 0.25)}
PUBLISHED = {
    'dino_vit-small_100e': DINO_SMALL,
    'dino_vit-small_300e': {**DINO_SMALL, **WARM_TEACHER, 'epochs': 300},
    'dino_vit-base_400e': {
        **DINO_SMALL,
        **WARM_TEACHER,
        'epochs': 400,
        'network': (768, 12, 12),
    },
    'dino_resnet50_100e': {
        **DINO_SMALL,
        'network': 'ResNet-50',
        'global': (2, 224, 0.14, 1.0),
        'local': (8, 96, 0.05, 0.14),
        'optimizer': torch.optim.SGD,
        'lr_per_256': 0.03,
        'weight_decay': (1e-4, 1e-4),
    },
    'ibot_vit-small_100e': IBOT_SMALL,
    'ibot_vit-small_300e': {**IBOT_SMALL, **IBOT_LOCALS, 'epochs': 300},
    'ibot_vit-base_400e': {
        **IBOT_SMALL,
        **IBOT_LOCALS,
        'epochs': 400,
        'network': (768, 12, 12),
        'fixed_norm': True,
    },
}
BATCH, WARM_UP, MIN_LR = 1024, 10, 1e-6
#: Iterations per epoch in the tests of schedules.
LENGTH = 2


def of_baseline(function):
    return pytest.mark.parametrize(('name', 'expected'), PUBLISHED.items(), ids=PUBLISHED)(function)


def load_baseline(name: str) -> Config:
    return load(CONFIGS / f'baselines/{name}.py')


@cache
def build_on_meta(path: Path) -> nn.Module:
    """The model in full size, without memory for its weights."""
    cfg = load(path)
    backbone = cfg.model.get('algorithm', cfg.model).backbone
    # ResNet computes with tensors while it is built.
    with torch.device('cpu' if 'ResNet' in backbone.type else 'meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    return model.to('meta')


def steps_of(pipeline: Any) -> dict[str, Any]:
    return {step['type']: without_scope(step) for step in pipeline}


def cosine(start: float, end: float, steps: int) -> np.ndarray:
    """As ``cosine_scheduler`` of the published code."""
    return end + 0.5 * (start - end) * (1 + np.cos(np.pi * np.arange(steps) / steps))


def linear(start: float, end: float, warm_up: int, steps: int) -> np.ndarray:
    """Linear over the warm-up, then constant."""
    return np.concatenate([np.linspace(start, end, warm_up), np.full(steps - warm_up, end)])


def test_every_baseline_is_tested():
    assert {path.stem for path in (CONFIGS / 'baselines').glob('*.py')} == PUBLISHED.keys()


@of_baseline
def test_learning_rate_and_weight_decay(name, expected):
    """Iteration by iteration: a linear warm-up from 0 and cosines to the end."""
    cfg = load_baseline(name)
    assert cfg.auto_scale_lr.base_batch_size == BATCH == 16 * cfg.train_dataloader.batch_size
    assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=expected['epochs'])
    settings = dict(cfg.optim_wrapper.optimizer)
    cls = getattr(torch.optim, settings.pop('type'))
    assert cls is expected['optimizer']
    weight, bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = cls([dict(params=[weight]), dict(params=[bias], weight_decay=0.0)], **settings)
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=optimizer, epoch_length=LENGTH))
        for config in cfg.param_scheduler
    ]
    seen, steps = [], expected['epochs'] * LENGTH
    for _ in range(steps):
        seen.append([(group['lr'], group['weight_decay']) for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    seen = np.array(seen)
    peak, warm_up = expected['lr_per_256'] * BATCH / 256, WARM_UP * LENGTH
    rates = [np.linspace(0, peak, warm_up), cosine(peak, MIN_LR, steps - warm_up)]
    for group in range(2):
        np.testing.assert_allclose(seen[:, group, 0], np.concatenate(rates), atol=2e-9 * peak)
    np.testing.assert_allclose(seen[:, 0, 1], cosine(*expected['weight_decay'], steps))
    assert (seen[:, 1, 1] == 0).all()


@of_baseline
def test_optimizer(name, expected):
    """Its other settings, and that biases and norms do not decay."""
    cfg = load_baseline(name)
    model = build_on_meta(CONFIGS / f'baselines/{name}.py')
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    options = optimizer.param_groups[0]
    if expected['optimizer'] is torch.optim.AdamW:
        assert (options['betas'], options['eps']) == ((0.9, 0.999), 1e-8)
    else:
        assert (options['momentum'], options['dampening'], options['nesterov']) == (0.9, 0, False)
    names = {parameter: key for key, parameter in model.named_parameters()}
    decays = {names[p]: g['weight_decay'] for g in optimizer.param_groups for p in g['params']}
    assert decays.keys() >= {key for key, p in model.named_parameters() if p.requires_grad}
    for key, decay in decays.items():
        is_flat = key.endswith('bias') or model.get_parameter(key).ndim == 1
        assert decay == (0 if is_flat else expected['weight_decay'][0]), key


@of_baseline
def test_teacher_and_gradients(name, expected):
    cfg = load_baseline(name)
    hooks = {config['type']: HOOKS.build(config) for config in cfg.custom_hooks}
    assert hooks.keys() == {'TeacherHook', 'GradientHook'}
    teacher, gradient = hooks['TeacherHook'], hooks['GradientHook']
    steps = expected['epochs'] * LENGTH
    momentum = [
        cosine_schedule(teacher.momentum, teacher.end_momentum, step, steps)
        for step in range(steps)
    ]
    np.testing.assert_allclose(1 - np.array(momentum), cosine(0.996, 1.0, steps), rtol=1e-12)
    assert (gradient.clip, gradient.freeze_epochs) == (3.0, 1)
    trained = {
        key
        for key, p in build_on_meta(CONFIGS / f'baselines/{name}.py').named_parameters()
        if p.requires_grad
    }
    frozen = {key for key in trained if re.search(gradient.freeze, key)}
    norm = set() if expected['fixed_norm'] else {'neck.last_layer.weight_g'}
    assert frozen == {'neck.last_layer.weight_v'} | norm


@of_baseline
def test_head(name, expected):
    """Temperatures in every epoch, centers and the weights of the terms."""
    head, epochs = MODELS.build(load_baseline(name).model.head), expected['epochs']
    local = expected['local']
    assert head.num_crops == expected['global'][0] + (local[0] if local else 0)
    assert (head.student_temp, head.center_momentum) == (0.1, 0.9)
    assert head.center.shape == (1, expected['prototypes'])
    head.check_epochs(epochs)
    seen, patches = [], []
    for epoch in range(epochs):
        with epoch_of_run(epoch, epochs):
            seen.append(head.current_teacher_temp())
            if 'masks' in expected:
                assert head.masks_are_on()
                patches.append(head.current_patch_teacher_temp())
    warm_up = expected['warmup_temperature']
    np.testing.assert_allclose(seen, linear(*expected['temperature'], warm_up, epochs))
    assert (type(head).__name__ == 'IBOTHead') == ('masks' in expected)
    if 'masks' in expected:
        np.testing.assert_allclose(patches, linear(*expected['patch_temperature'], warm_up, epochs))
        assert (head.cls_weight, head.patch_weight, head.patch_center_momentum) == (1, 1, 0.9)
        assert head.patch_center.shape == head.center.shape


@of_baseline
def test_networks(name, expected):
    model = build_on_meta(CONFIGS / f'baselines/{name}.py')
    assert type(model).__name__ == ('IBOT' if 'masks' in expected else 'DINO')
    backbone, neck = model.backbone, model.neck
    if expected['network'] == 'ResNet-50':
        width = 2048
        assert backbone.depth == 50
        assert isinstance(backbone.norm1, nn.SyncBatchNorm)
        assert sum(p.numel() for p in backbone.parameters()) == 23508032
    else:
        width, layers, heads = expected['network']
        assert (backbone.embed_dims, backbone.num_layers) == (width, layers)
        assert backbone.layers[0].attn.num_heads == heads
        assert backbone.layers[0].ffn.feedforward_channels == 4 * width
        assert tuple(backbone.img_size) == (224, 224)
        assert tuple(backbone.patch_embed.projection.kernel_size) == (16, 16)
        assert backbone.ln1.eps == 1e-6
        assert backbone.drop_after_pos.p == 0
        # Of attention and MLP of every layer.
        rates = np.repeat(np.linspace(0, 0.1, layers), 2)
        for network, wanted in ((backbone, rates), (model.teacher, 0 * rates)):
            drops = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
            np.testing.assert_allclose(drops, wanted)
    shapes = [tuple(m.weight.shape) for m in neck.mlp if isinstance(m, nn.Linear)]
    assert shapes == [(2048, width), (2048, 2048), (256, 2048)]
    assert {type(m) for m in neck.mlp} == {nn.Linear, nn.GELU}
    assert neck.last_layer.weight_v.shape == (expected['prototypes'], 256)
    assert neck.last_layer.weight_g.requires_grad != expected['fixed_norm']
    assert not hasattr(neck, 'last_layer2')


@of_baseline
def test_views(name, expected):
    cfg = load_baseline(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    steps = [step['type'] for step in pipeline]
    masks = ['BlockMasks', 'PackViews'] if 'masks' in expected else ['PackInputs']
    assert steps == ['LoadImageFromFile', 'MultiView', *masks]
    if 'masks' in expected:
        transform = TRANSFORMS.build(pipeline[2])
        assert transform.patch_size == 16
        assert (tuple(transform.ratios), tuple(transform.spreads)) == expected['masks']
    views, local = pipeline[1], expected['local']
    assert expected['global'][0] == 2
    assert list(views['num_views']) == [1, 1] + ([local[0]] if local else [])
    # Crop, and the probabilities of blur and solarization.
    wanted = [(expected['global'], 1.0, 0.0), (expected['global'], 0.1, 0.2), (local, 0.5, None)]
    for transforms, (crop, blur, solarize) in zip(views['transforms'], wanted):
        view = steps_of(transforms)
        order = [
            'RandomResizedCrop',
            'RandomFlip',
            'RandomApply',
            'RandomGrayscale',
            'GaussianBlur',
        ]
        assert list(view) == order + ([] if solarize is None else ['Solarize'])
        assert view['RandomResizedCrop'] == {
            'type': 'RandomResizedCrop',
            'scale': crop[1],
            'crop_ratio_range': list(crop[2:]),
            'interpolation': 'bicubic',
            'backend': 'pillow',
        }
        assert view['RandomFlip']['prob'] == 0.5
        assert view['RandomApply']['prob'] == 0.8
        (jitter,) = view['RandomApply']['transforms']
        assert jitter == {
            'type': 'ColorJitter',
            'brightness': 0.4,
            'contrast': 0.4,
            'saturation': 0.2,
            'hue': 0.1,
        }
        # The weights of luma, of blue first.
        assert view['RandomGrayscale'] == {
            'type': 'RandomGrayscale',
            'prob': 0.2,
            'keep_channels': True,
            'channel_weights': [0.114, 0.587, 0.2989],
        }
        assert view['GaussianBlur']['prob'] == blur
        assert list(view['GaussianBlur']['magnitude_range']) == [0.1, 2.0]
        if solarize is not None:
            assert view['Solarize'] == {'type': 'Solarize', 'thr': 128, 'prob': solarize}


def std_of(parameter: torch.Tensor) -> float:
    return parameter.std().item()


@pytest.mark.parametrize('name', ['dino_vit-small_100e', 'ibot_vit-small_100e'])
def test_initial_weights_of_transformers(name):
    """As published: a truncated normal distribution of 0.02, zero biases, norms the identity."""
    cfg = deepcopy(load_baseline(name))
    cfg.model.backbone.arch = dict(
        embed_dims=192, num_layers=2, num_heads=3, feedforward_channels=384
    )
    cfg.model.neck.update(in_channels=192, out_channels=64)
    cfg.model.head.out_channels = 64
    model = MODELS.build(cfg.model)
    model.init_weights()
    for network in (model, nn.ModuleDict(model.teacher)):
        backbone, neck = network.backbone, network.neck
        linear_layers = {
            key: m
            for key, m in [*backbone.named_modules(), *neck.named_modules()]
            if isinstance(m, nn.Linear)
        }
        assert len(linear_layers) == 2 * 4 + 3
        for key, layer in linear_layers.items():
            assert std_of(layer.weight) == pytest.approx(0.02, rel=0.02), key
            assert abs(layer.weight.mean().item()) < 5e-4, key
            assert (layer.bias == 0).all(), key
        assert std_of(backbone.cls_token) == pytest.approx(0.02, rel=0.25)
        assert std_of(backbone.pos_embed) == pytest.approx(0.02, rel=0.02)
        # torch's own, uniform up to 1 / sqrt(fan in).
        projection = backbone.patch_embed.projection.weight
        assert projection.abs().max().item() == pytest.approx((3 * 16 * 16) ** -0.5, rel=1e-3)
        norms = [m for m in backbone.modules() if isinstance(m, nn.LayerNorm)]
        assert len(norms) == 5
        assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
        if name.startswith('ibot'):
            assert (backbone.mask_token == 0).all()


def test_initial_weights_of_resnet():
    """torchvision's: the last norm of a block starts as the others."""
    cfg = load_baseline('dino_resnet50_100e')
    backbone = MODELS.build({**cfg.model.backbone, 'depth': 18})
    backbone.init_weights()
    for key, module in backbone.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert (module.weight == 1).all(), key
            assert (module.bias == 0).all(), key
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert std_of(module.weight) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), key


@pytest.mark.parametrize(
    'entry', ['loss', 'time', 'data_time', 'grad_norm', 'hvs_score', 'cls_term', 'patch_term']
)
def test_the_log_averages_over_its_window(entry):
    pattern = load_baseline('ibot_vit-small_100e').log_processor.mean_pattern
    assert re.match(pattern, f'train/{entry}')
    assert not re.match(pattern, 'train/lr')
    assert not re.match(pattern, 'train/teacher_momentum')


# --- Photometry on the device ----------------------------------------------------------------

SWITCH = {
    'data_preprocessor.type': 'DevicePhotometry',
    'train_dataloader.dataset.pipeline.1.photometry': 'device',
}
DEVICE_CONFIGS = sorted((CONFIGS / 'device_photometry').glob('*.py'))


def test_there_are_configs_with_photometry_on_the_device():
    assert [path.stem for path in DEVICE_CONFIGS] == [
        f'hvs_{name}_device' for name in ('dino_300e', 'ibot_300e', 'simclr_200e', 'simsiam_100e')
    ]


@pytest.mark.parametrize('path', DEVICE_CONFIGS, ids=lambda path: path.name)
def test_only_the_place_of_photometry_differs(path):
    """From what they inherit, and from the same switch on the command line."""
    cfg, plain = load(path), baseline_of(path)
    assert path.stem == f'{Path(plain.filename).stem}_device'
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
    (step,) = (s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'CandidateViews')
    TRANSFORMS.build({**step, 'photometry': 'device'})
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


@pytest.mark.parametrize('way', ['config', 'command line'])
@pytest.mark.parametrize('name', ['hvs_dino_300e', 'hvs_ibot_300e'])
def test_start_from_a_backbone(tmp_path, way, name):
    """As docs/weights.md shows it; the teacher follows."""
    source = MODELS.build(with_small_network(Config.fromfile(CONFIGS / f'{name}.py')))
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
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        options = {f'{INIT}.type': 'PretrainedBackbone', f'{INIT}.checkpoint': path}
        check_overrides(cfg, options)
        cfg.merge_from_dict(options)
    model = MODELS.build(with_small_network(cfg))
    model.init_weights()
    for prefix in ('', 'teacher.'):
        for key, value in weights.items():
            assert torch.equal(model.state_dict()[prefix + key], value), prefix + key
