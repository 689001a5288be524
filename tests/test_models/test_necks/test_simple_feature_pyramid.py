from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import nn

from hvs_mm.models import SimpleFeaturePyramid


def layer_norm(x, norm):
    """LayerNorm over the channels of one position after the other."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    normalized = (x - mean) / (variance + norm.eps).sqrt()
    return normalized * norm.weight[None, :, None, None] + norm.bias[None, :, None, None]


def test_shapes_and_strides_with_a_vit():
    backbone = MODELS.build(
        dict(
            type='VisionTransformer',
            arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=32),
            img_size=32,
            patch_size=16,
            out_type='featmap',
        )
    )
    neck = MODELS.build(dict(type='SimpleFeaturePyramid', in_channels=32, out_channels=24))
    # Another size and shape than the position embeddings were made for.
    outputs = neck(backbone(torch.rand(2, 3, 128, 192)))
    assert [tuple(x.shape) for x in outputs] == [
        (2, 24, 128 // stride, 192 // stride) for stride in (4, 8, 16, 32, 64)
    ]
    sum(x.sum() for x in outputs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_every_level_is_the_formula_of_the_paper():
    neck = SimpleFeaturePyramid(8, out_channels=4, num_outs=6).double()
    for parameter in neck.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 8, 6, 4, dtype=torch.float64)
    up1, norm, _, up2 = neck.scales[0]
    fine = F.gelu(layer_norm(F.conv_transpose2d(x, up1.weight, up1.bias, stride=2), norm))
    single = neck.scales[1]
    maps = [
        F.conv_transpose2d(fine, up2.weight, up2.bias, stride=2),
        F.conv_transpose2d(x, single.weight, single.bias, stride=2),
        x,
        x.reshape(2, 8, 3, 2, 2, 2).amax((3, 5)),
    ]
    expected = []
    for level, (conv1, norm1, conv3, norm3) in zip(maps, neck.projections):
        level = layer_norm(F.conv2d(level, conv1.weight), norm1)
        expected.append(layer_norm(F.conv2d(level, conv3.weight, padding=1), norm3))
    expected.append(expected[3][:, :, ::2, ::2])
    expected.append(expected[4][:, :, ::2, ::2])
    outputs = neck([torch.zeros_like(x), x])
    assert len(outputs) == 6
    for output, wanted in zip(outputs, expected):
        torch.testing.assert_close(output, wanted)


def test_a_level_sees_its_own_place_only():
    """A bright patch in a corner of the map shows in the same corner of every level."""
    neck = SimpleFeaturePyramid(8, out_channels=4).eval()
    x = torch.zeros(1, 8, 16, 16)
    x[:, :, :2, :2] = torch.randn(1, 8, 2, 2)
    base, changed = neck([torch.zeros_like(x)]), neck([x])
    for level, (a, b) in enumerate(zip(base[:4], changed[:4])):
        moved = (a - b).abs().amax((0, 1)) > 1e-6
        size = moved.shape[0]
        assert moved[: size // 4, : size // 4].any(), level
        assert not moved[size // 2 :].any()
        assert not moved[:, size // 2 :].any()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(in_channels=8, num_outs=3), r'num_outs=3 must be 4'),
        (dict(in_channels=6), r'in_channels=6 must be a multiple of 4'),
        (dict(in_channels=0), r'in_channels=0 must be a multiple of 4'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SimpleFeaturePyramid(**settings)
