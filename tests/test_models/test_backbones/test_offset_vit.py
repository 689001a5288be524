"""The interpolation itself is replayed against the published one in tests/test_published."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmpretrain.models import build_backbone
from mmpretrain.registry import MODELS
from torch.nn import functional as F

from hvs_mm.datasets.loading.image_kind import RGB
from hvs_mm.models import OffsetVisionTransformer
from hvs_mm.runs.exporting import _mmpretrain
from tests.helpers.tiny_dino import ARCH

#: 4 x 4 patches.
SIDE, PATCH = 32, 8
SMALLER, LARGER, WIDE = (16, 16), (48, 48), (16, 24)
CONFIG = {'type': 'VisionTransformer', 'arch': ARCH, 'img_size': SIDE, 'patch_size': PATCH}


def build(offset, kind='OffsetVisionTransformer', **kwargs):
    torch.manual_seed(0)
    backbone = MODELS.build({**CONFIG, 'type': kind, 'pos_embed_offset': offset, **kwargs})
    torch.nn.init.normal_(backbone.pos_embed)
    return backbone


@pytest.mark.parametrize('size', [(SIDE, SIDE), SMALLER, LARGER, WIDE])
def test_without_an_offset_it_is_upstreams(size):
    backbone, upstream = build(0.0), MODELS.build(CONFIG)
    upstream.load_state_dict(backbone.state_dict(), strict=True)
    images = torch.randn(2, 3, *size)
    assert torch.equal(backbone(images)[0], upstream(images)[0])


@pytest.mark.parametrize('kind', ['OffsetVisionTransformer', 'MaskedVisionTransformer'])
@pytest.mark.parametrize('size', [SMALLER, LARGER, WIDE])
def test_positions_with_an_offset(kind, size):
    """As an interpolation by the scale that the published code computes, then a view without it."""
    backbone, images = build(0.1, kind), torch.randn(2, 3, *size)
    rows, columns = size[0] // PATCH, size[1] // PATCH
    grid = backbone.pos_embed[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=((rows + 0.1) / 4, (columns + 0.1) / 4), mode='bicubic')
    assert grid.shape[2:] == (rows, columns)
    twin = build(0.0, kind, img_size=size)
    state = backbone.state_dict()
    state['pos_embed'] = torch.cat(
        [state['pos_embed'][:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], 1
    )
    twin.load_state_dict(state)
    torch.testing.assert_close(backbone(images)[0], twin(images)[0], rtol=1e-5, atol=1e-6)
    # It matters, and in its own size it does not.
    assert (backbone(images)[0] - build(0.0, kind)(images)[0]).abs().max() > 1e-2
    images = torch.randn(2, 3, SIDE, SIDE)
    assert torch.equal(backbone(images)[0], build(0.0, kind)(images)[0])


def test_every_position_takes_a_gradient_of_a_smaller_view():
    backbone = build(0.1).double()
    positions = backbone._positions((2, 2))
    assert positions.dtype == torch.float64
    positions.square().sum().backward()
    assert (backbone.pos_embed.grad.abs().sum(-1) > 0).all()


def test_export_to_upstreams_transformer():
    backbone = build(0.1)
    config = {'pos_embed_offset': 0.1, **CONFIG, 'type': 'OffsetVisionTransformer'}
    run = SimpleNamespace(
        backbone=backbone, backbone_config=config, kind=RGB, preprocessing={'size': (SIDE, SIDE)}
    )
    plan = _mmpretrain(run)
    lines = plan.code(Path('weights.safetensors')).splitlines()
    line = next(line for line in lines if line.startswith('model ='))
    exported = eval(line.partition('=')[2], {'build_backbone': build_backbone})
    exported.load_state_dict(backbone.state_dict())
    assert type(exported).__name__ == 'VisionTransformer'


@pytest.mark.parametrize('offset', [-0.1, 1, float('nan'), '0.1'])
def test_wrong_offset(offset):
    with pytest.raises(ValueError, match=r'pos_embed_offset=.* must be at least 0 and below 1'):
        OffsetVisionTransformer(pos_embed_offset=offset, arch=ARCH)
