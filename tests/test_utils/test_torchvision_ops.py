"""Operators of torchvision in MMCV's place, against what MMCV's compiled ones give.

Where MMCV is compiled with operators, this command records what they give:

    python -m tests.test_utils.test_torchvision_ops
"""

from __future__ import annotations

import itertools
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from hvs_mm.utils import torchvision_ops

#: Recorded with onedl-mmcv 2.3.6, torch 2.10.0 and its CPU operators.
RECORDED = Path(__file__).parents[1] / 'data' / 'mmcv_operators.pt'


def kept_boxes(extension: ModuleType) -> dict[str, Tensor]:
    """What NMS keeps of 60 boxes, of which some overlap by exactly a threshold."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 12, (60, 2), generator=generator).float()
    sizes = torch.randint(0, 12, (60, 2), generator=generator).float()
    boxes = torch.cat([corners, corners + sizes], 1)
    scores = torch.randperm(60, generator=generator) / 60
    return {
        f'nms {threshold} {offset}': extension.nms(
            boxes, scores, iou_threshold=threshold, offset=offset
        )
        for threshold, offset in itertools.product((0.3, 0.5, 0.7), (0, 1))
    }


def aligned_features(extension: ModuleType) -> dict[str, Tensor]:
    """Features of four regions, one beyond the image and one empty, and their gradients."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 2, 9, 11, generator=generator)
    regions = torch.tensor(
        [[0, 3, 5, 70, 60], [1, -9, -9, 40, 99], [1, 2.5, 3.5, 20, 9], [0, 8, 8, 8, 8]]
    )
    outputs = {}
    for ratio, aligned in itertools.product((0, 2), (False, True)):
        settings = dict(
            aligned_height=3, aligned_width=7, spatial_scale=0.125, sampling_ratio=ratio,
            pool_mode=1, aligned=aligned,
        )  # fmt: skip
        output, unused = torch.zeros(4, 2, 3, 7), torch.zeros(0)
        extension.roi_align_forward(features, regions, output, unused, unused, **settings)
        gradient = torch.zeros_like(features)
        extension.roi_align_backward(output, regions, unused, unused, gradient, **settings)
        name = f'roi_align {ratio} {aligned}'
        outputs |= {name: output, f'{name} gradient': gradient}
    return outputs


@pytest.mark.parametrize('call', [kept_boxes, aligned_features])
def test_the_same_as_compiled(call):
    recorded = torch.load(RECORDED)
    for name, actual in call(torchvision_ops).items():
        torch.testing.assert_close(actual, recorded[name], rtol=1e-5, atol=1e-6, msg=name)


def install(monkeypatch, *installed: str, imported: str | None = None) -> dict[str, ModuleType]:
    """Let packages be installed, and one be imported; returns the imported modules."""
    modules = {imported: None}
    monkeypatch.setattr(torchvision_ops, 'sys', SimpleNamespace(modules=modules))
    monkeypatch.setattr(
        torchvision_ops, 'find_spec', lambda name: name if name in {*installed, *modules} else None
    )
    return modules


@pytest.mark.parametrize(
    ('installed', 'provided'),
    [
        (['mmdet', 'mmcv.ops'], True),
        (['mmcv.ops'], False),
        (['mmdet'], False),
        (['mmdet', 'mmcv.ops', 'mmcv._ext'], False),
    ],
)
def test_operators_are_provided_where_needed(monkeypatch, installed, provided):
    modules = install(monkeypatch, *installed)
    torchvision_ops.provide_operators()
    assert ('mmcv._ext' in modules) == provided
    torchvision_ops.check_operators()


def test_mmdetection_that_came_first_is_reported(monkeypatch):
    modules = install(monkeypatch, 'mmdet', 'mmcv.ops', imported='mmdet.structures')
    torchvision_ops.provide_operators()
    assert 'mmcv._ext' not in modules
    with pytest.raises(RuntimeError, match=r'before hvs_mm.*"mim train hvs-mm"'):
        torchvision_ops.check_operators()


def test_other_operators_raise_when_called(monkeypatch):
    modules = install(monkeypatch, 'mmdet', 'mmcv.ops')
    torchvision_ops.provide_operators()
    extension = modules['mmcv._ext']
    assert extension.nms is torchvision_ops.nms
    for name in ('softnms', 'deform_conv_forward'):
        with pytest.raises(ImportError, match=f'^{name} is no operator of torchvision.*detection'):
            getattr(extension, name)(1, offset=0)
    with pytest.raises(ImportError, match="pool_mode='max'"):
        torchvision_ops.roi_align_forward(*[None] * 5, 1, 1, 1.0, 0, 0, True)
    assert not hasattr(extension, '__path__')


if __name__ == '__main__':
    compiled = import_module('mmcv._ext')
    torch.save(kept_boxes(compiled) | aligned_features(compiled), RECORDED)
