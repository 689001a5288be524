"""Backbones of timm and of published files: their features here, and what is refused."""

from __future__ import annotations

import pytest
import timm
import torch
from mmpretrain.registry import MODELS
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from torch import nn

from hvs_mm.weights import backbone_state, load_backbone
from hvs_mm.weights.architecture import vit_architecture
from hvs_mm.weights.published import to_published
from tests.helpers.tiny_classifier import randomize

WIDTH = 32
SMALL = dict(embed_dim=WIDTH, depth=2, num_heads=4, img_size=70, num_classes=3)
SWIGLU = dict(mlp_layer=SwiGLUPacked, act_layer=nn.SiLU, mlp_ratio=2 * 2.75)
# timm's name of a model, and what makes it small.
KINDS = {
    'registers': ('vit_small_patch14_reg4_dinov2', {}),
    'dinov2': ('vit_small_patch14_dinov2', {}),
    'swiglu': ('vit_giant_patch14_reg4_dinov2', SWIGLU),
    'vit': ('vit_small_patch16_224', dict(patch_size=14)),
    'dinov3': ('vit_small_patch16_dinov3', dict(patch_size=14)),
}
RESNET = dict(type='ResNet', depth=50)
VIT = dict(
    type='DINOv2VisionTransformer',
    patch_size=14,
    arch=dict(embed_dims=WIDTH, num_layers=2, num_heads=4, feedforward_channels=4 * WIDTH),
)


def build_timm(kind):
    name, changes = KINDS[kind]
    return randomize(timm.create_model(name, **{**SMALL, **changes})).eval()


def build_ours(kind, **settings):
    if kind == 'swiglu':
        # Two thirds of it are its hidden units, 2.75 times the width.
        settings['arch'] = {**VIT['arch'], 'feedforward_channels': 132}
        settings['ffn'] = 'swiglu'
    if kind == 'dinov3':
        settings |= dict(type='DINOv3VisionTransformer', qkv_bias=False)
    registers = 4 if kind in ('swiglu', 'registers', 'dinov3') else 0
    scale = 0.0 if kind == 'vit' else 1e-5
    settings = dict(num_registers=registers, layer_scale_init_value=scale, **settings)
    backbone = MODELS.build({**VIT, **settings})
    # Not chained: the `train` of MMPretrain's backbones returns nothing.
    backbone.eval()
    return backbone


def outputs(layers, call, images):
    """The output of each layer."""
    found = []
    handles = [
        layer.register_forward_hook(lambda module, args, output: found.append(output))
        for layer in layers
    ]
    with torch.no_grad():
        call(images)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(70, 70), (42, 42), (126, 126), (84, 42)])
def test_layers_compute_what_those_of_timm_do(kind, size, tmp_path):
    """At the size of the file, below, above, and not square."""
    theirs = build_timm(kind)
    save_file(theirs.state_dict(), tmp_path / 'a.safetensors')
    ours = build_ours(kind, img_size=size)
    load = load_backbone(ours, tmp_path / 'a.safetensors')
    assert load.describe('x').endswith(
        "(''); not in the checkpoint: mask_token; left over: head.bias, head.weight (heads)"
    )
    theirs.set_input_size(size)
    images = torch.randn(2, 3, *size)
    expected = outputs([*theirs.blocks, theirs.norm], theirs.forward_features, images)
    found = outputs([*ours.layers, ours.ln1], ours, images)
    if 'reg_token' in theirs.state_dict():
        # Ours gives no registers.
        expected[-1] = expected[-1][:, [0, *range(5, expected[-1].shape[1])]]
    assert len(found) == 3
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', ['registers', 'swiglu', 'dinov2'])
def test_published_names_of_dinov2(kind, tmp_path):
    """With a position of [CLS], a mask token, packed gates as w12, in chunks or not."""
    ours = randomize(build_ours(kind, img_size=70))
    published = to_published({f'backbone.{n}': v for n, v in ours.state_dict().items()}).weights
    names = {'masked_embed': 'mask_token', 'gamma_1': 'ls1.gamma', 'gamma_2': 'ls2.gamma'}
    state = {}
    for name, value in published.items():
        for one, other in names.items():
            name = name.replace(one, other)
        state[name] = value
    assert {'mask_token', 'blocks.1.ls2.gamma'} <= state.keys()
    assert ('blocks.0.mlp.w12.weight' in state) == (kind == 'swiglu')
    chunks = {name.replace('blocks.', 'blocks.0.'): value for name, value in state.items()}
    teacher = {f'backbone.{name}': value for name, value in chunks.items()}
    teacher['dino_head.mlp.0.weight'] = torch.ones(1)
    for checkpoint in (state, {'model': state}, {'teacher': teacher, 'student': {}}):
        torch.save(checkpoint, tmp_path / 'a.pth')
        other = build_ours(kind, img_size=70)
        load = load_backbone(other, tmp_path / 'a.pth')
        assert len(load.loaded) == len(ours.state_dict())
        assert set(load.unexpected) <= {'dino_head.mlp.0.weight'}
        for name, value in ours.state_dict().items():
            assert torch.equal(other.state_dict()[name], value), name


def test_a_resnet_of_timm(tmp_path):
    theirs = timm.create_model('resnet50', num_classes=4, zero_init_last=False).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            randomize(module)
    save_file(theirs.state_dict(), tmp_path / 'a.safetensors')
    ours = MODELS.build(dict(RESNET, out_indices=(0, 1, 2, 3)))
    ours.eval()
    load = load_backbone(ours, tmp_path / 'a.safetensors')
    assert load.unexpected == ('fc.bias', 'fc.weight')
    images = torch.randn(1, 3, 32, 48)
    stages = [theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4]
    expected = outputs(stages, theirs.forward_features, images)
    with torch.no_grad():
        for found, other in zip(ours(images), expected):
            torch.testing.assert_close(found, other, rtol=1e-5, atol=1e-5)


def test_what_an_architecture_is_told_by():
    found = vit_architecture(backbone_state(build_timm('swiglu').state_dict())[1])
    assert list(found.values()) == [WIDTH, 2, 14, 3, 'SwiGLU', 88, 4, 'learned', True, True]
    assert vit_architecture(MODELS.build(dict(type='ResNet', depth=18)).state_dict()) == {}


def test_rotary_positions_into_learned_ones(tmp_path):
    save_file(build_timm('dinov3').state_dict(), tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match='positions rotary in the checkpoint, learned here'):
        load_backbone(build_ours('registers'), tmp_path / 'a.safetensors')


def test_a_file_that_is_no_safetensors(tmp_path):
    (tmp_path / 'a.safetensors').write_text('These are no weights.')
    with pytest.raises(ValueError, match=r'a\.safetensors is no file of safetensors: '):
        load_backbone(build_ours('vit'), tmp_path / 'a.safetensors')


def authors_dinov3(model):
    """The weights of timm's DINOv3 with biases of queries and values in the authors' names.

    Those of ``models/vision_transformer.py`` of facebookresearch/dinov3, whose layer of queries,
    keys and values has a bias, and a mask that turns off that of the keys.
    """
    names = {
        'reg_token': 'storage_tokens', '.gamma_1': '.ls1.gamma', '.gamma_2': '.ls2.gamma',
        'fc_norm': 'norm',
    }  # fmt: skip
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith(('q_bias', 'v_bias')) or name.startswith('head.'):
            continue
        for one, other in names.items():
            name = name.replace(one, other)
        state[name] = value
    for number, block in enumerate(model.blocks):
        part, width = f'blocks.{number}.attn.qkv.bias', len(block.attn.q_bias)
        state[part] = torch.cat((block.attn.q_bias, torch.randn(width), block.attn.v_bias))
        state[f'{part}_mask'] = torch.ones(3 * width)
        state[f'{part}_mask'][width : 2 * width] = 0
    periods = 100 ** (torch.arange(2) / 2)
    state['rope_embed.periods'] = periods.bfloat16()
    state['mask_token'] = torch.randn(1, WIDTH)
    return state


@pytest.mark.parametrize('is_teacher', [False, True])
def test_dinov3_in_the_names_of_its_authors(is_teacher, tmp_path):
    theirs = timm.create_model('vit_small_patch16_dinov3_qkvb', **SMALL, patch_size=14)
    randomize(theirs).eval()
    state = authors_dinov3(theirs)
    assert vit_architecture(backbone_state(state)[1])['qkv bias']
    ours = MODELS.build({
        **VIT, 'type': 'DINOv3VisionTransformer', 'num_registers': 4, 'img_size': 70,
        'layer_scale_init_value': 1e-5,
    })  # fmt: skip
    ours.eval()
    checkpoint = {'teacher': {f'backbone.{n}': v for n, v in state.items()}, 'student': {}}
    torch.save(checkpoint if is_teacher else state, tmp_path / 'a.pth')
    load = load_backbone(ours, tmp_path / 'a.pth')
    assert (load.missing, load.unexpected) == ((), ())
    images = torch.randn(2, 3, 84, 42)
    theirs.set_input_size((84, 42))
    expected = outputs([*theirs.blocks, theirs.norm], theirs.forward_features, images)
    found = outputs([*ours.layers, ours.ln1], ours, images)
    expected[-1] = expected[-1][:, [0, *range(5, expected[-1].shape[1])]]
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    state['rope_embed.periods'] *= 1.1
    with pytest.raises(ValueError, match=r'have periods from 1\.1 to 11, expected 1 to 10'):
        backbone_state(state)
