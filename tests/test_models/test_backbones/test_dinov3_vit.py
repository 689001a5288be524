"""Rotary positions. ``test_foreign_names`` compares features with timm's."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS

from hvs_mm import HVSAlgorithm
from hvs_mm.models.backbones.dinov3_vit import RotaryPositions
from hvs_mm.models.selfsup.teacher import build_teacher
from tests.helpers.tiny_dino import ARCH, GLOBAL, build_dino, dino_config

ROTARY = {'type': 'DINOv3VisionTransformer', 'num_registers': 2, 'layer_scale_init_value': 0.5}


def rotary_config():
    plain = dino_config('DINOv2')['backbone']
    return {**plain, **ROTARY}


def test_a_rotation_of_each_pair_by_hand():
    """Channels c and c + w / 2 are a plane, which turns by 2 pi times coordinate / period."""
    width, rows, columns = 8, 2, 3
    positions = RotaryPositions(width)
    positions.set_grid(rows, columns)
    x = torch.randn(1, 2, 1 + rows * columns, width, dtype=torch.float64)
    found = positions(x)
    assert torch.equal(found[:, :, 0], x[:, :, 0])
    for patch in range(rows * columns):
        row, column = divmod(patch, columns)
        centers = ((row + 0.5) / rows * 2 - 1, (column + 0.5) / columns * 2 - 1)
        for channel in range(width // 2):
            axis, number = divmod(channel, width // 4)
            angle = 2 * torch.pi * centers[axis] / 100 ** (2 * number / (width // 2))
            turn = torch.polar(torch.ones(()).double(), torch.tensor(angle).double())
            plane = torch.complex(
                x[0, :, 1 + patch, channel], x[0, :, 1 + patch, channel + width // 2]
            )
            expected = torch.view_as_real(plane * turn)
            actual = found[0, :, 1 + patch, [channel, channel + width // 2]]
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_teacher_turns_by_its_own_grid():
    """Copies share no state: student and teacher see views of different sizes in turn."""
    backbone = MODELS.build(rotary_config())
    teacher = build_teacher(backbone=backbone)
    backbone.eval()
    large, small = torch.randn(2, 3, GLOBAL, GLOBAL), torch.randn(2, 3, 16, 16)
    expected = backbone(large)[-1]
    assert 'pos_embed' not in backbone.state_dict()
    backbone(small)
    torch.testing.assert_close(teacher['backbone'](large)[-1], expected)
    assert torch.equal(backbone(large)[-1], expected)
    # Without positions exchanged patches would only exchange their tokens.
    assert not torch.allclose(backbone(large.flip(-1))[-1][:, 0], expected[:, 0], atol=1e-4)


def test_what_rotary_positions_cannot_do():
    arch = {**ARCH, 'num_heads': 16}
    with pytest.raises(ValueError, match=r'its heads have 2 channels, .* a multiple of 4'):
        MODELS.build({**rotary_config(), 'arch': arch})
    with pytest.raises(ValueError, match=r'selection_pass.tokens=0.5 drops .* whole grid: leave'):
        HVSAlgorithm(
            build_dino('DINOv2', num_crops=2, backbone=rotary_config()),
            candidates=[2, 2],
            keep=[1, 1],
            selection_pass={'tokens': 0.5},
        )
