"""Recipes for images that are not 8-bit RGB."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from hvs_mm.engine import preflight
from hvs_mm.engine.checks.channel_checks import needs_rgb
from hvs_mm.recipes import choose_recipe, find_images, recipe_config
from hvs_mm.recipes.init_file import network_of_file
from tests.helpers.channel_images import folder_of, noise, write
from tests.helpers.images import write_images


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of 4 channels of 16 bits, of which 12 are in use."""
    pixels = [noise(4, size=(40, 48), seed=seed) >> 4 for seed in range(16)]
    return folder_of(tmp_path_factory.mktemp('images'), pixels, '{}.tiff')


def make(folder, out, *args, **settings):
    images = find_images(folder)
    recipe = choose_recipe(images, *args, **{'batch_size': 4, 'epochs': 1, **settings})
    cfg = recipe_config(recipe, images, out)
    cfg.work_dir = str(out / 'run')
    return recipe, cfg


#: Solarization, six small crops, masks; the others have pipelines of these.
@pytest.mark.parametrize('method', ['simclr', 'byol', 'swav', 'dinov2'])
def test_methods_load_and_changes_all_channels(folder, tmp_path, method):
    recipe, cfg = make(folder, tmp_path, method, hard_views=False)
    load, views = cfg.train_dataloader.dataset.pipeline[:2]
    assert dict(load) == dict(type='LoadChannels', channels=4, bits=16)
    assert cfg.knn_pipeline[0] == dict(load, bad_images='error')
    assert cfg.model.backbone.in_channels == 4
    steps = [step for view in views.transforms for step in view]
    steps += [inner for step in steps for inner in step.get('transforms', [])]
    assert [needs_rgb(step) for step in steps] == [''] * len(steps)
    jitter = next(step for step in steps if step['type'] == 'ColorJitter')
    assert jitter['brightness'] > 0
    assert 'no changes of hue and saturation' in recipe.reasons['channels']


def test_statistics_are_those_of_all_pixels(folder, tmp_path):
    _, cfg = make(folder, tmp_path)
    pixels = np.stack([noise(4, size=(40, 48), seed=seed) >> 4 for seed in range(16)])
    preprocessor = cfg.data_preprocessor
    np.testing.assert_allclose(preprocessor.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(preprocessor.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9)
    assert find_images(folder).describe().endswith('short side 40 px, 4 channels of 16 bits')
    # What the data set lists by itself ends in .tif.
    assert '.tiff' in cfg.train_dataloader.dataset.extensions


def test_rgb_is_measured_as_rgb(tmp_path):
    write_images(tmp_path, ['a.png', 'b.png'])
    pixels = np.stack([np.array(Image.open(tmp_path / name)) for name in ('a.png', 'b.png')])
    found = find_images(tmp_path).measure()
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)


def test_one_kind_is_expected(tmp_path):
    write(tmp_path / 'a.png', noise(1))
    write(tmp_path / 'b.png', noise(1, 8))
    with pytest.raises(ValueError, match='are of different kinds: ') as raised:
        _ = find_images(tmp_path).kind
    message = str(raised.value)
    assert 'a.png has 1 channel of 16 bits' in message
    assert 'b.png has 1 channel of 8 bits' in message
    assert '\n' not in message
    (tmp_path / 'a.png').unlink()
    # Gray and color are RGB, as ever; an alpha is dropped unless it is asked for.
    write(tmp_path / 'c.png', noise(3, 8))
    write(tmp_path / 'd.png', noise(4, 8))
    assert find_images(tmp_path).kind == (3, 8)
    (tmp_path / 'b.png').unlink()
    (tmp_path / 'c.png').unlink()
    assert find_images(tmp_path, 4).kind == (4, 8)
    assert 'without alpha (--channels 4' in find_images(tmp_path).describe()
    assert 'alpha' not in find_images(tmp_path, 4).describe()
    with pytest.raises(ValueError, match=r'--channels 5: d\.png has 3 channels of 8 bits\. Leave'):
        _ = find_images(tmp_path, 5).kind
    with pytest.raises(ValueError, match='--channels 0 must be at least 1'):
        find_images(tmp_path, 0)


def test_a_run_from_an_rgb_backbone(folder, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(timm.create_model('vit_tiny_patch16_224', depth=1).state_dict(), path)
    recipe, cfg = make(folder, tmp_path, 'byol', init=path)
    assert recipe.reasons['start'].endswith('first convolution is fit from 3 channels to 4')
    assert cfg.model.algorithm.backbone.in_channels == 4
    preflight(cfg)
    torch.save(timm.create_model('resnet18', in_chans=13).state_dict(), path)
    with pytest.raises(ValueError, match=r'--init .*: its images have 13 channels, yours 4'):
        network_of_file(path, 4)
