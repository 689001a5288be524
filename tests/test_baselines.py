"""Our baselines, of methods that upstream lacks, have the published settings."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from torch import nn

from hvs_mm.engine import cosine_schedule
from tests.helpers.configs import CONFIGS, build_on_meta, load, without_scope
from tests.helpers.tiny_dino import epoch_of_run

#: Settings of DINO's, iBOT's and DINOv2's authors, by baseline. ``network`` is (width, layers,
#: heads) of a ViT; crops are (number, side, smallest area, largest area), both global ones alike.
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
    'algorithm': 'DINO',
    'momentum': 0.996,
    'patch': 16,
    'drop_path': np.linspace(0, 0.1, 12),
}
WARM_TEACHER = {'temperature': (0.04, 0.07), 'warmup_temperature': 30}
IBOT_SMALL = {
    **DINO_SMALL,
    **WARM_TEACHER,
    'algorithm': 'IBOT',
    'global': (2, 224, 0.14, 1.0),
    'local': None,
    'patch_temperature': (0.04, 0.07),
    'masks': ((0.0, 0.3), (0.0, 0.2)),
    'prototypes': 8192,
    'fixed_norm': False,
}
IBOT_LOCALS = {'global': (2, 224, 0.25, 1.0), 'local': (10, 96, 0.05, 0.25)}
#: The short recipe, with patches and local crops of the published ViT-S/14 and ViT-B/14.
DINOV2_SMALL = {
    **IBOT_SMALL,
    'algorithm': 'DINOv2',
    'global': (2, 224, 0.32, 1.0),
    'local': (8, 98, 0.05, 0.32),
    'lr_per_256': 1e-3,
    'momentum': 0.992,
    'prototypes': 65536,
    'patch': 14,
    'drop_path': np.full(12, 0.3),
}
PUBLISHED = {
    'dino_vit-small_100e': DINO_SMALL,
    'dino_vit-small_300e': {**DINO_SMALL, **WARM_TEACHER, 'epochs': 300, 'fixed_norm': False},
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
    'dinov2_vit-small': DINOV2_SMALL,
    'dinov2_vit-base': {**DINOV2_SMALL, 'network': (768, 12, 12)},
}
BATCH, WARM_UP, MIN_LR = 1024, 10, 1e-6
#: Iterations per epoch in the tests of schedules.
LENGTH = 2


def of_baseline(function):
    return pytest.mark.parametrize(('name', 'expected'), PUBLISHED.items(), ids=PUBLISHED)(function)


def load_baseline(name: str) -> Config:
    return load(CONFIGS / f'baselines/{name}.py')


def steps_of(pipeline: Any) -> dict[str, Any]:
    return {step['type']: without_scope(step) for step in pipeline}


def cosine(start: float, end: float, steps: int) -> np.ndarray:
    """As ``cosine_scheduler`` of the published code."""
    return end + 0.5 * (start - end) * (1 + np.cos(np.pi * np.arange(steps) / steps))


def linear(start: float, end: float, warm_up: int, steps: int) -> np.ndarray:
    """Linear over the warm-up, then constant."""
    return np.concatenate([np.linspace(start, end, warm_up), np.full(steps - warm_up, end)])


def test_every_baseline_is_tested():
    tested = {*PUBLISHED, 'vicreg_resnet50_100e'}
    assert {path.stem for path in (CONFIGS / 'baselines').glob('*.py')} == tested


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
    """The other settings of the optimizer; biases and norms do not decay."""
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
    np.testing.assert_allclose(
        1 - np.array(momentum), cosine(expected['momentum'], 1.0, steps), rtol=1e-12
    )
    assert (gradient.clip, gradient.freeze_epochs) == (3.0, 1)
    assert gradient.by == ('part' if expected['algorithm'] == 'DINOv2' else 'tensor')
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
    assert type(head).__name__ == f'{expected["algorithm"]}Head'
    if expected['algorithm'] == 'DINOv2':
        assert (head.uses_sinkhorn, head.koleo_weight) == (False, 0.1)
    if 'masks' in expected:
        np.testing.assert_allclose(patches, linear(*expected['patch_temperature'], warm_up, epochs))
        assert (head.cls_weight, head.patch_weight, head.patch_center_momentum) == (1, 1, 0.9)
        assert head.patch_center.shape == head.center.shape


@of_baseline
def test_networks(name, expected):
    model = build_on_meta(CONFIGS / f'baselines/{name}.py')
    assert type(model).__name__ == expected['algorithm']
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
        assert tuple(backbone.patch_embed.projection.kernel_size) == (expected['patch'],) * 2
        assert backbone.ln1.eps == 1e-6
        assert backbone.drop_after_pos.p == 0
        # One rate for attention and one for the MLP of every layer.
        rates = np.repeat(expected['drop_path'], 2)
        scales = [name for name, _ in backbone.named_parameters() if 'gamma' in name]
        assert len(scales) == (2 * layers if expected['algorithm'] == 'DINOv2' else 0)
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
        assert transform.patch_size == expected['patch']
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
        # Weights of luma, blue first.
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


@pytest.mark.parametrize('name', ['dino_vit-small_100e', 'ibot_vit-small_100e', 'dinov2_vit-small'])
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
        token_std = 1e-6 if name.startswith('dinov2') else 0.02
        assert std_of(backbone.cls_token) == pytest.approx(token_std, rel=0.25)
        assert std_of(backbone.pos_embed) == pytest.approx(0.02, rel=0.02)
        # torch's own, uniform up to 1 / sqrt(fan in).
        projection = backbone.patch_embed.projection.weight
        assert projection.abs().max().item() == pytest.approx(
            (3 * projection[0, 0].numel()) ** -0.5, rel=1e-3
        )
        norms = [m for m in backbone.modules() if isinstance(m, nn.LayerNorm)]
        assert len(norms) == 5
        assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
        if not name.startswith('dino_'):
            assert (backbone.mask_token == 0).all()
        gammas = [p for key, p in backbone.named_parameters() if 'gamma' in key]
        assert len(gammas) == (4 if name.startswith('dinov2') else 0)
        assert all((gamma == 1e-5).all() for gamma in gammas)


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
    'entry', ['loss', 'time', 'data_time', 'grad_norm', 'hvs_score', 'patch_term', 'koleo_cls_term']
)
def test_the_log_averages_over_its_window(entry):
    pattern = load_baseline('ibot_vit-small_100e').log_processor.mean_pattern
    assert re.match(pattern, f'train/{entry}')
    assert not re.match(pattern, 'train/lr')
    assert not re.match(pattern, 'train/teacher_momentum')


def test_vicreg():
    """The command of its authors for 100 epochs: batch 512, 0.3 per 256 images, rate by step."""
    cfg = deepcopy(load_baseline('vicreg_resnet50_100e'))
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.auto_scale_lr.base_batch_size == 512 == 8 * cfg.train_dataloader.batch_size
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=optimizer, epoch_length=LENGTH))
        for config in cfg.param_scheduler
    ]
    seen = []
    for _ in range(100 * LENGTH):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    warm_up = 0.6 * np.arange(10 * LENGTH) / (10 * LENGTH)
    expected = np.concatenate([warm_up, cosine(0.6, 0.6e-3, 90 * LENGTH)])
    # The published warm-up reaches the peak a step later.
    np.testing.assert_allclose(seen, expected, atol=0.6 / (10 * LENGTH - 1))
    cfg.model.backbone.depth, cfg.model.neck.in_channels = 18, 512
    cfg.model.neck.hid_channels = cfg.model.neck.out_channels = 16
    model = MODELS.build(cfg.model)
    model.init_weights()
    # Torch's initial weights.
    assert model.neck.fc0.weight.abs().max() <= 512**-0.5
    assert model.head.weights == {'invariance': 25.0, 'variance': 25.0, 'covariance': 1.0}
    groups = build_optim_wrapper(model, deepcopy(cfg.optim_wrapper)).optimizer.param_groups
    for group in groups:
        (parameter,) = group['params']
        is_weight = parameter.ndim > 1
        assert group['weight_decay'] == (1e-6 if is_weight else 0)
        assert bool(group.get('lars_exclude')) == (not is_weight)
        assert group['lr'] == 0.6
