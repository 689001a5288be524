"""Features for linear evaluation against the plain transformer they come from."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from torch.nn import functional as F

from hvs_mm.models import LastLayersVisionTransformer
from tests.helpers.tiny_classifier import VIT, randomize
from tests.helpers.tiny_dino import ARCH

DEEP = {**VIT, 'arch': {**ARCH, 'num_layers': 5}}


def build(last_layers=4, **config):
    config = {**DEEP, **config, 'type': 'LastLayersVisionTransformer'}
    return MODELS.build({**config, 'last_layers': last_layers})


@pytest.mark.parametrize('last_layers', [1, 4, 5])
def test_features_against_hooks_on_the_plain_transformer(last_layers):
    plain = randomize(MODELS.build(DEEP))
    plain.eval()
    model = build(last_layers)
    model.load_state_dict(plain.state_dict(), strict=True)
    outputs = []
    for layer in plain.layers:
        layer.register_forward_hook(lambda _, __, output: outputs.append(output))
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        (last,) = plain(images)
    norm = plain.ln1
    expected = [
        F.layer_norm(tokens[:, 0], (32,), norm.weight, norm.bias, norm.eps)
        for tokens in outputs[-last_layers:]
    ]
    (features,) = model(images)
    assert features.shape == (3, 32 * last_layers)
    assert torch.allclose(features, torch.cat(expected, dim=1), atol=1e-6)
    assert torch.equal(features[:, -32:], last)


def test_it_is_frozen():
    model = build(drop_path_rate=0.9, drop_rate=0.5)
    images = torch.randn(2, 3, 32, 32)
    model.eval()
    (expected,) = model(images)
    model.train()
    assert not any(module.training for module in model.modules())
    (features,) = model(images)
    assert torch.equal(features, expected)
    assert not features.requires_grad
    assert not any(parameter.requires_grad for parameter in model.parameters())
    # Also as a part of a model that is set to train.
    torch.nn.Sequential(model).train()
    assert not model.layers[0].training


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'last_layers': 6}, 'last_layers=6 must be from 1 to 5'),
        ({'last_layers': 0}, 'last_layers=0 must be from 1 to 5'),
        ({'final_norm': False}, 'final_norm=False'),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_the_usual_size():
    model = LastLayersVisionTransformer(arch='deit-small', patch_size=16)
    assert model(torch.randn(1, 3, 224, 224))[0].shape == (1, 1536)
