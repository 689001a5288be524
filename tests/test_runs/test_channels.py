"""A run on 16-bit images of four channels: what is embedded and exported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.channel_images import folder_of, noise
from tests.helpers.runs import train_step


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    pixels = [noise(4, size=(32, 32), seed=seed) for seed in range(16)]
    return folder_of(tmp_path_factory.mktemp('images'), pixels, '{}.tif')


@pytest.fixture(scope='module')
def run(folder, tmp_path_factory, _package):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return train_step(
            tmp_path_factory.mktemp('runs') / 'run', folder, 'simclr', 'resnet18', image_size=32
        )


@pytest.mark.parametrize('format', [
    'timm', *(pytest.param(name, marks=pytest.mark.slow) for name in ('torchvision', 'onnx')),
])  # fmt: skip
def test_exports_have_the_features_of_the_run(run, folder, tmp_path, format):
    """From the pixels of a file, through the metadata and the code, to what ``embed`` writes."""
    from hvs_mm.runs import embed
    from hvs_mm.runs.exporting import export

    exported = export(run, format, out=tmp_path / ('a.onnx' if format == 'onnx' else 'a.pth'))
    assert exported.difference < 1e-5
    preprocessing = exported.metadata['preprocessing']
    assert (preprocessing['bits'], preprocessing['channels']) == (16, 'as in the file')
    # (4,) -> (4, 1, 1)
    mean, std = (np.array(preprocessing[name])[:, None, None] for name in ('mean', 'std'))
    pixels = np.moveaxis(noise(4, size=(32, 32), seed=3), 2, 0) / 65535
    names = {'images': torch.tensor((pixels - mean) / std, dtype=torch.float32)[None]}
    with torch.no_grad():
        exec(exported.code, names)
    embedding = embed(run, folder)
    expected = embedding.features[embedding.files.index('3.tif')]
    found = torch.as_tensor(names['features'])[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_what_other_programs_and_images_lack(run, tmp_path):
    from hvs_mm.runs import embed
    from hvs_mm.runs.exporting import export

    with pytest.raises(ValueError, match='8-bit RGB, your images have 4 channels of 16 bits'):
        export(run, 'hf', out=tmp_path / 'hf')
    folder_of(tmp_path / 'rgb', [noise(3, 8)])
    with pytest.raises(ValueError, match='has 3 channels of 8 bits, expected 4 channels of 16'):
        embed(run, tmp_path / 'rgb')


def test_views_are_pictured(folder, tmp_path, monkeypatch):
    from hvs_mm.runs import view_picture

    figures = []
    draw = view_picture.draw_candidates
    monkeypatch.setattr(
        view_picture, 'draw_candidates', lambda given: figures.append(draw(given)) or figures[0]
    )
    path, recipe = view_picture.draw_views(folder, tmp_path / 'a.png', number=1)
    assert path.is_file()
    assert 'channels' in recipe.reasons
    titles = [axes.get_title(loc='left') for axes in figures[0].axes]
    assert '32x32, channels 1 to 3 of 4' in titles
