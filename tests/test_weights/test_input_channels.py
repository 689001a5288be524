"""First convolutions for other channels, against timm's."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from mmpretrain.registry import MODELS
from safetensors.torch import save_file
from timm.models import adapt_input_conv

from hvs_mm.weights import load_backbone
from hvs_mm.weights.input_channels import adapt_input_channels
from hvs_mm.weights.timm_torchvision import rename_backbone


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 13])
def test_as_timm_does(channels):
    for weight in (torch.randn(8, 3, 5, 5), torch.randn(8, 3, 2, 2).half()):
        expected = adapt_input_conv(channels, weight.clone())
        torch.testing.assert_close(adapt_input_channels(weight, channels), expected)


@pytest.mark.parametrize('name', ['resnet18', 'vit_tiny_patch16_224'])
def test_a_file_for_rgb(name, tmp_path):
    is_vit = name.startswith('vit')
    settings = dict(depth=1, img_size=32) if is_vit else {}
    theirs = timm.create_model(name, **settings)
    save_file(theirs.state_dict(), tmp_path / 'a.safetensors')
    ours = dict(type='ResNet', depth=18)
    if is_vit:
        sizes = dict(embed_dims=192, num_layers=1, num_heads=3, feedforward_channels=768)
        ours = dict(type='VisionTransformer', arch=sizes, img_size=32, out_type='cls_token')
    load = load_backbone(
        backbone := MODELS.build({**ours, 'in_channels': 13}), tmp_path / 'a.safetensors'
    )
    assert 'fit from 3 channels to 13 (repeated, times 3/13)' in load.describe('x')
    model = timm.create_model(
        name, in_chans=13, **settings, pretrained=True,
        pretrained_cfg_overlay=dict(file=str(tmp_path / 'a.safetensors')),
    )  # fmt: skip
    backbone.eval()
    images = torch.randn(2, 13, 32, 32)
    with torch.no_grad():
        found, expected = backbone(images)[-1], model.eval().forward_features(images)
    torch.testing.assert_close(found, expected[:, 0] if is_vit else expected, rtol=1e-4, atol=1e-5)


def test_files_for_others_do_not_fit(tmp_path):
    torch.save(timm.create_model('resnet18', in_chans=4).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='its images have 4 channels, yours 13: only') as raised:
        load_backbone(
            MODELS.build(dict(type='ResNet', depth=18, in_channels=13)), tmp_path / 'a.pth'
        )
    assert '\n' not in str(raised.value)


def test_a_transformer_of_torchvision_for_others():
    sizes = dict(embed_dims=64, num_layers=1, num_heads=1, feedforward_channels=256)
    config = dict(arch=sizes, img_size=16, patch_size=8, in_channels=4, out_type='cls_token')
    ours = MODELS.build(dict(type='VisionTransformer', **config))
    ours.eval()
    renamed = rename_backbone(ours.state_dict(), 'torchvision', config)
    names = dict(torch=torch, torchvision=torchvision)
    exec('\n'.join([f'model = {renamed.model}', *renamed.changes]), names)
    model = names['model']
    model.heads = torch.nn.Identity()
    model.load_state_dict(renamed.weights)
    images = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), ours(images)[-1], rtol=1e-4, atol=1e-5)
