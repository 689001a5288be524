"""From a file of timm into a run, and back."""

from __future__ import annotations

import pytest
import timm
import torch
from mmengine.config import Config
from safetensors.torch import load_file, save_file

import hvs_mm
from tests.helpers.runs import train_step

SIZE = 42
KINDS = {
    'vit_small_patch14_reg4_dinov2': dict(img_size=70),
    'vit_giant_patch14_reg4_dinov2': dict(img_size=SIZE, mlp_ratio=2 * 2.5),
}


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=pytest.mark.slow if 'small' in name else ()) for name in KINDS],
)
def test_registers_and_gates_come_back_unchanged(name, class_images, tmp_path):
    """A run that ends while its backbone is frozen has the features of the file."""
    settings = dict(embed_dim=64, depth=1, num_heads=1, **KINDS[name])
    theirs = timm.create_model(name, **settings).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    save_file(theirs.state_dict(), tmp_path / 'file.safetensors')
    init = dict(init=tmp_path / 'file.safetensors', image_size=SIZE)
    run = train_step(tmp_path / 'run', class_images, 'dinov2', hard_views=False, **init)
    assert Config.fromfile(run / 'config.py').model.backbone.num_registers == 4
    exported = hvs_mm.export(run)
    assert exported.difference < 1e-5
    back = timm.create_model(name, **{**settings, 'img_size': SIZE}, num_classes=0).eval()
    back.load_state_dict(load_file(exported.path))
    theirs.set_input_size((SIZE, SIZE))
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(
            back.forward_features(images), theirs.forward_features(images), rtol=1e-5, atol=1e-5
        )
        # The code of this package for MMPretrain, which has no such network of its own.
        names = {'images': images}
        exec(hvs_mm.export(run, 'mmpretrain').code, names)
        cls = theirs.forward_features(images)[:, 0]
        torch.testing.assert_close(names['features'], cls, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r'has no (a layer scale|registers)|with a layer scale'):
        hvs_mm.export(run, 'hf')
