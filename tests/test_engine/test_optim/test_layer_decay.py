"""Rates of layers as the code published with DINOv2 sets them."""

from __future__ import annotations

import re

import pytest
from mmengine.optim import build_optim_wrapper

from tests.helpers.tiny_dino import RESNET, build_dino, build_hvs_dino

LAYERS = 2


def wrapper_of(model, **paramwise):
    return build_optim_wrapper(
        model,
        dict(
            constructor='LayerDecayConstructor',
            optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
            paramwise_cfg={
                'layer_decay_rate': 0.9, 'bias_decay_mult': 0.0, 'norm_decay_mult': 0.0,
                'flat_decay_mult': 0.0, **paramwise,
            },
        ),
    )  # fmt: skip


def published(name):
    """Share of the rate: 0.9 for each layer above, and 0.2 for the patch embedding."""
    if not name.startswith('backbone.') or name.startswith('backbone.ln1.'):
        return 1.0
    layer = re.match(r'backbone\.layers\.(\d+)\.', name)
    depth = int(layer[1]) + 1 if layer else 0
    return 0.9 ** (LAYERS + 1 - depth) * (0.2 if 'patch_embed' in name else 1.0)


@pytest.mark.parametrize('build', [build_dino, build_hvs_dino])
def test_rates_and_decay(build):
    model = build('DINOv2', backbone={'num_registers': 2, 'layer_scale_init_value': 0.1})
    optimizer = wrapper_of(model, patch_embed_lr_mult=0.2).optimizer
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {names[p]: group for group in optimizer.param_groups for p in group['params']}
    assert found.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    for name, group in found.items():
        assert group['lr'] == pytest.approx(0.01 * published(name), rel=1e-12), name
        is_flat = model.get_parameter(name).ndim == 1
        assert group['weight_decay'] == (0 if is_flat else 0.1), name
    # Of stem, patch embedding, layers and rest, with and without decay; the stem's tokens decay.
    assert len(optimizer.param_groups) == 2 * (2 + LAYERS + 1) - 1
    # The log shows that of the first group.
    assert optimizer.param_groups[0]['lr'] == 0.01


def test_wrong_multiplier():
    with pytest.raises(ValueError, match=r'patch_embed_lr_mult=0 must be above 0 and at most 1'):
        wrapper_of(build_dino('DINOv2'), patch_embed_lr_mult=0)


def test_a_lower_rate_of_any_backbone_keeps_other_settings():
    """A ResNet-18, of whose layers upstream knows no depth, and SimSiam's constant rate."""
    model = build_dino(backbone=RESNET, neck={'in_channels': 64})
    optimizer = wrapper_of(
        model,
        backbone_lr_mult=0.1,
        layer_decay_rate=1.0,
        custom_keys={'neck.mlp': {'fix_lr': True}},
    ).optimizer
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for name in (names[parameter] for parameter in group['params']):
            share = 0.1 if name.startswith('backbone.') else 1.0
            assert group['lr'] == pytest.approx(0.01 * share)
            assert group.get('fix_lr', False) == name.startswith('neck.mlp'), name
