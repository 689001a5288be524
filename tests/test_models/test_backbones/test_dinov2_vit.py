"""The vision transformer of DINOv2 against timm's, and its stochastic depth by samples."""

from __future__ import annotations

import pytest
import timm
import torch
from mmpretrain.registry import MODELS
from timm.layers import SwiGLUPacked
from torch import nn

from hvs_mm.models.selfsup.teacher import build_teacher, is_random
from hvs_mm.weights.timm_torchvision import timm_names
from tests.helpers.tiny_dino import ARCH, GLOBAL, PATCH, dino_config, random_masks


def build(**settings):
    backbone = MODELS.build(dino_config('DINOv2', backbone=settings)['backbone'])
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return backbone


def timms(backbone, ffn, num_registers):
    """timm's transformer with the weights of ours."""
    width, layer = ARCH['embed_dims'], SwiGLUPacked if ffn == 'swiglu' else timm.layers.Mlp
    twin = timm.models.VisionTransformer(
        img_size=GLOBAL,
        patch_size=PATCH,
        embed_dim=width,
        depth=ARCH['num_layers'],
        num_heads=ARCH['num_heads'],
        # The two gates are packed; MMPretrain rounds two thirds of the width up to eights.
        mlp_ratio=2 * 48 / width if ffn == 'swiglu' else 2,
        init_values=1.0,
        reg_tokens=num_registers,
        no_embed_class=num_registers > 0,
        num_classes=0,
        mlp_layer=layer,
        act_layer=nn.SiLU if ffn == 'swiglu' else nn.GELU,
    )
    weights = timm_names(backbone.state_dict())
    weights.pop('masked_embed')
    twin.load_state_dict(weights)
    return twin


@pytest.mark.parametrize(('ffn', 'num_registers'), [('mlp', 4), ('swiglu', 0), ('swiglu', 3)])
def test_features_are_timms(ffn, num_registers):
    backbone = build(ffn=ffn, num_registers=num_registers, layer_scale_init_value=0.5)
    backbone.eval()
    images = torch.randn(2, 3, GLOBAL, GLOBAL)
    twin = timms(backbone, ffn, num_registers).eval()
    with torch.no_grad():
        tokens, expected = backbone(images)[-1], twin.forward_features(images)
    assert tokens.shape == (2, 1 + (GLOBAL // PATCH) ** 2, ARCH['embed_dims'])
    # timm keeps the registers.
    expected = torch.cat([expected[:, :1], expected[:, 1 + num_registers :]], 1)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


def test_registers_are_seen_but_not_given():
    backbone = build(num_registers=2)
    images, mask = torch.randn(3, 3, GLOBAL, GLOBAL), random_masks(3, 1)[:, 0]
    tokens = backbone(images, mask)[-1]
    with torch.no_grad():
        backbone.register_tokens += torch.randn_like(backbone.register_tokens)
    assert not torch.allclose(backbone(images, mask)[-1], tokens, atol=1e-3)
    assert backbone(images[:, :, :16, :16])[-1].shape == (3, 5, 32)


def test_the_cls_token_alone():
    """For methods without masks, which leave the mask token without a gradient."""
    backbone = build(num_registers=2, cls_only=True)
    images = torch.randn(3, 3, GLOBAL, GLOBAL)
    (features,) = backbone(images)
    backbone.out_type = 'raw'
    torch.testing.assert_close(features, backbone(images)[-1][:, 0])
    features.sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_samples_are_dropped_whole_and_the_mean_stays():
    """A layer whose residuals are known: of 8 samples int(0.7 * 8) get theirs, times 8 / 5."""
    settings = dict(drop_path_rate=0.3, uniform_drop_path=True)
    layer = build(**settings, drop_path='samples').layers[0].train()
    plain = build().layers[0]
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(8, 5, 32)
    # Without a feed-forward part, so that only one residual is added.
    for each in (layer, plain):
        nn.init.zeros_(each.ffn.layers[1].weight)
        nn.init.zeros_(each.ffn.layers[1].bias)
    moved, whole = layer(x) - x, plain(x) - x
    kept = moved.flatten(1).abs().amax(1) > 0
    assert kept.sum() == 5
    torch.testing.assert_close(moved[kept], 8 / 5 * whole[kept], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layer.eval()(x), plain(x))
    # One sample is always left.
    assert not torch.equal(layer.train()(x[:1]), x[:1])


@pytest.mark.parametrize('ffn', ['mlp', 'swiglu'])
@pytest.mark.parametrize('drop_path', ['path', 'samples'])
def test_rates_of_all_layers_and_of_a_teacher(ffn, drop_path):
    """Also in SwiGLU layers, where upstream has none."""
    backbone = build(ffn=ffn, drop_path=drop_path, drop_path_rate=0.4, uniform_drop_path=True)
    rates = [(layer.attn.out_drop.drop_prob, layer.ffn.dropout_layer.drop_prob)
             for layer in backbone.layers]  # fmt: skip
    assert rates == [(0.4, 0.4)] * 2
    assert is_random(backbone)
    x = torch.randn(6, 3, GLOBAL, GLOBAL)
    assert not torch.equal(backbone(x)[-1], backbone(x)[-1])
    teacher = build_teacher(backbone=backbone)
    assert not is_random(teacher)
    # Upstream's returns nothing.
    backbone.eval()
    torch.testing.assert_close(teacher['backbone'](x)[-1], backbone(x)[-1])


def test_tokens_that_enter_the_first_layer_are_of_the_stem():
    backbone = build(num_registers=1)
    for name in ('cls_token', 'pos_embed', 'mask_token', 'register_tokens', 'patch_embed.x'):
        assert backbone.get_layer_depth(f'backbone.{name}', 'backbone.') == (0, 4)
    assert backbone.get_layer_depth('backbone.layers.1.ln1.weight', 'backbone.') == (2, 4)
    assert backbone.get_layer_depth('neck.mlp.0.weight', 'backbone.') == (3, 4)


@pytest.mark.parametrize(('settings', 'message'), [
    ({'img_size': 224, 'patch_size': 15}, r'img_size=224 cannot .*patch_size=15: take 210 or 225'),
    ({'num_registers': -1}, 'num_registers=-1 must be an integer of at least 0'),
    ({'ffn': 'glu'}, r"ffn='glu' must be one of \['mlp', 'swiglu'\]"),
    ({'drop_path': 'batch'}, r"drop_path='batch' must be one of \['path', 'samples'\]"),
])  # fmt: skip
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
