"""Runs that start from a backbone file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hvs_mm.engine import build_model, preflight
from hvs_mm.recipes import choose_recipe, find_images, recipe_config
from hvs_mm.recipes.config import write_knn_lists
from hvs_mm.recipes.init_file import network_of_file
from tests.helpers.images import class_names, write_images

REGISTERS = ('vit_small_patch14_reg4_dinov2', dict(embed_dim=64, depth=1, num_heads=1, img_size=42))
FILES = {
    'registers': REGISTERS,
    'dinov2': ('vit_small_patch14_dinov2', REGISTERS[1]),
    'vit': ('vit_small_patch16_224', dict(depth=1, img_size=32, qkv_bias=False)),
    'giant': ('vit_giant_patch14_reg4_dinov2', {}),
    'huge': ('vit_huge_patch14_224', {}),
    'giant of 2021': ('vit_giant_patch14_224', {}),
    'dinov3': ('vit_small_patch16_dinov3', dict(embed_dim=64, depth=1, num_heads=1, img_size=64)),
    'small': ('vit_small_patch8_224', {}),
    'resnet18': ('resnet18', {}),
    'resnet101': ('resnet101', {}),
}


def write(folder: Path, kind: str) -> Path:
    """A file of timm's with random weights."""
    name, settings = FILES[kind]
    path = folder / f'{kind}.safetensors'
    save_file(timm.create_model(name, **settings).state_dict(), path)
    return path


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    return find_images(write_images(folder, class_names(['cat', 'dog'], 10)))


@pytest.mark.parametrize(('kind', 'name', 'heads', 'registers'), [
    ('giant', 'vit-1536-40', 24, 4),
    ('huge', 'vit-1280-32', 16, 0),
    ('giant of 2021', 'vit-1408-40', 16, 0),
    ('small', 'vit-small', None, 0),
    ('registers', 'vit-64-1', 1, 4),
    ('resnet18', 'resnet18', None, 0),
    ('resnet101', 'resnet101', None, 0),
])  # fmt: skip
def test_the_network_of_a_file(kind, name, heads, registers, monkeypatch):
    model, settings = FILES[kind]
    with torch.device('meta'):
        state = timm.create_model(model, **settings).state_dict()
    monkeypatch.setattr('hvs_mm.recipes.init_file.load_checkpoint', lambda path, trust: state)
    found, network = network_of_file(Path(__file__))
    assert found == name
    assert network.is_vit == kind.startswith(('g', 'h', 's', 'reg'))
    if heads:
        assert network.arch['num_heads'] == heads
    assert network.settings.get('num_registers', 0) == registers
    assert (network.settings.get('ffn') == 'swiglu') == (kind == 'giant')
    # Of what is known nothing is guessed.
    assert ('a guess' in network.adapted) == (kind == 'registers')
    if not network.is_vit:
        # The stem for large images, whatever the images.
        assert network.config(32, sync_bn=False)['type'] == 'ResNet'


@pytest.mark.parametrize(('kind', 'method'), [
    ('registers', 'dinov2'), ('registers', 'ibot'), ('registers', 'dino'), ('dinov2', 'dinov2'),
    ('dinov2', 'simclr'), ('vit', 'ibot'), ('vit', 'simsiam'), ('resnet18', 'dino'),
    ('dinov3', 'dinov2'), ('dinov3', 'byol'),
])  # fmt: skip
def test_the_run_has_the_weights_of_the_file(kind, method, images, tmp_path):
    path = write(tmp_path, kind)
    recipe = choose_recipe(images, method, batch_size=4, steps=20, init=path)
    cfg = recipe_config(recipe, images, tmp_path)
    write_knn_lists(images, tmp_path)
    cfg.work_dir = str(tmp_path)
    preflight(cfg)
    model = build_model(cfg)
    model.init_weights()
    expected = timm.create_model(FILES[kind][0], **FILES[kind][1], num_classes=0)
    expected.load_state_dict({
        name: value for name, value in timm.models.load_state_dict(str(path)).items()
        if not name.startswith(('head.', 'fc.'))
    })  # fmt: skip
    patch = {'registers': 14, 'dinov2': 14, 'vit': 16, 'dinov3': 16}.get(kind)
    if patch:
        assert recipe.image_size == 8 * patch
        assert recipe.local_size % patch == 0
        expected.set_input_size((recipe.image_size, recipe.image_size))
    view = torch.randn(2, 3, recipe.image_size, recipe.image_size)
    networks = [model.backbone]
    if hasattr(model, 'teacher'):
        networks.append(model.teacher['backbone'])
    for network in networks:
        network.eval()
        with torch.no_grad():
            found, features = network(view)[-1], expected.eval().forward_features(view)
        if patch:
            found, features = (x[:, 0] if x.ndim == 3 else x for x in (found, features))
        torch.testing.assert_close(found, features, rtol=1e-4, atol=1e-5)


def test_heads_warm_up_and_the_backbone_follows_slowly(images, tmp_path):
    path = write(tmp_path, 'registers')
    recipe = choose_recipe(images, 'dinov2', batch_size=4, steps=20, init=path)
    cfg = recipe_config(recipe, images, tmp_path)
    frozen = dict(type='GradientHook', freeze=r'(^|\.)backbone\.', freeze_share=0.1)
    assert frozen in cfg.custom_hooks
    assert cfg.custom_hooks[-1].warn_drop == 0.1
    paramwise = cfg.optim_wrapper.paramwise_cfg
    assert (paramwise.backbone_lr_mult, paramwise.layer_decay_rate) == (0.1, 0.9)
    assert 'frozen for 10% of the steps' in recipe.reasons['start']
    # Without a file none of it.
    cfg = recipe_config(choose_recipe(images, 'dinov2', steps=20), images, tmp_path)
    assert frozen not in cfg.custom_hooks
    assert 'warn_drop' not in cfg.custom_hooks[-1]
    assert 'backbone_lr_mult' not in cfg.optim_wrapper.paramwise_cfg


@pytest.mark.parametrize(('kind', 'settings', 'message'), [
    ('registers', dict(model='vit-tiny'), r'--model vit-tiny: --init .* holds a vit-64-1\. Leave'),
    ('resnet18', dict(method='ibot'), r'which the resnet18 of --init .* not have: take the file'),
    ('vit', dict(method='densecl'), r'which the vit-384-1 of --init .* not give: take the file'),
    ('registers', dict(image_size=64), '--image-size 64 is no multiple of 14'),
])  # fmt: skip
def test_what_does_not_fit_the_file(kind, settings, message, images, tmp_path):
    path = write(tmp_path, kind)
    with pytest.raises(ValueError, match=message):
        choose_recipe(images, **{'method': 'dino', 'init': path, **settings})


def test_files_without_a_known_network(tmp_path):
    path = tmp_path / 'a.pth'
    models = {
        'unknown': timm.create_model('resnet18d'),
        'groups': timm.create_model('resnext50_32x4d'),
        'more width': timm.create_model('wide_resnet50_2'),
        r'without a \[CLS\]': timm.create_model(
            'vit_tiny_patch16_224', depth=1, class_token=False, global_pool='avg'
        ),
        'DINOv3 with SwiGLU': timm.create_model('vit_small_plus_patch16_dinov3', depth=1),
        'channels': timm.create_model('vit_tiny_patch16_224', depth=1, in_chans=4),
        'multiple of 64': timm.create_model(
            'vit_tiny_patch16_224', depth=1, embed_dim=32, num_heads=4
        ),
    }
    for word, model in models.items():
        torch.save(model.state_dict(), path)
        with pytest.raises(ValueError, match=rf'^--init .*a\.pth.: .*{word}') as info:
            network_of_file(path)
        assert '\n' not in str(info.value)
