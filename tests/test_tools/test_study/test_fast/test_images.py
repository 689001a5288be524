"""Images in memory and in their file, against those of the data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from hvs_mm.datasets import ShapesDataset
from hvs_mm.evaluation import KNNEvaluation, KNNSettings, extract_features
from hvs_study.fast import images as images_module
from hvs_study.fast.images import prepare_evaluation, training_images
from hvs_study.schema import StudyError
from tests.helpers.runs import class_folders, draw


def config_of(dataset: dict[str, Any], *loading: str) -> Config:
    steps = [dict(type=name) for name in loading]
    pipeline = [*steps, dict(type='MultiView', num_views=2, transforms=[[]])]
    return Config(dict(train_dataloader=dict(dataset=dict(dataset, pipeline=pipeline))))


@pytest.fixture
def folder(tmp_path) -> Path:
    class_folders(tmp_path / 'data' / 'train', 3)
    class_folders(tmp_path / 'data' / 'val', 2)
    return tmp_path / 'data'


def folders_of(folder: Path) -> dict[str, Any]:
    return dict(type='CustomDataset', data_root=str(folder), data_prefix='train')


def no_reading(*_: Any) -> Any:
    raise AssertionError('the images are in their file')


@pytest.mark.parametrize('loading', ['LoadImageFromFile', 'LoadCheckedImage'])
def test_files_are_read_once(folder, tmp_path, monkeypatch, loading):
    cfg = config_of(folders_of(folder), loading)
    found = training_images(cfg, tmp_path / 'cache')
    assert (found.shape, found.dtype) == ((9, 40, 3, 48), torch.uint8)
    dataset = DATASETS.build({**folders_of(folder), 'pipeline': [dict(type='LoadImageFromFile')]})
    for number, image in enumerate(found):
        assert np.array_equal(image.permute(0, 2, 1), dataset[number]['img'])
    monkeypatch.setattr(images_module, '_read', no_reading)
    assert torch.equal(training_images(cfg, tmp_path / 'cache'), found)
    # Another file under the same name is read again.
    path = next((folder / 'train').rglob('*.png'))
    draw(path, (0, 0, 0), 1, (48, 40))
    os.utime(path, ns=(1, 1))
    with pytest.raises(AssertionError, match='in their file'):
        training_images(cfg, tmp_path / 'cache')


def test_generated_images_differ_by_their_settings(tmp_path):
    found = []
    for settings in (dict(), dict(layout='scene'), dict(seed=1), dict(num_samples=4)):
        settings = dict(type='ShapesDataset', num_samples=3, img_size=32) | settings
        found.append(training_images(config_of(settings), tmp_path))
        kwargs = {key: value for key, value in settings.items() if key != 'type'}
        wanted = ShapesDataset(pipeline=[], **kwargs)[2]['img']
        assert np.array_equal(found[-1][2].permute(0, 2, 1), wanted)
    assert len(list(tmp_path.iterdir())) == 4
    assert not torch.equal(found[0], found[1])


def test_images_of_several_sizes_are_rejected(folder, tmp_path):
    draw(folder / 'train' / 'red' / '0.png', (1, 2, 3), 0, (20, 20))
    with pytest.raises(StudyError, match="engine='fast' needs images of one size"):
        training_images(config_of(folders_of(folder), 'LoadImageFromFile'), tmp_path / 'cache')


def test_an_evaluation_has_the_features_of_its_loaders(folder, tmp_path):
    cfg = config_of(folders_of(folder), 'LoadImageFromFile')
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16)]
    cfg.knn_pipeline = [*steps, dict(type='PackInputs')]
    evaluate = KNNEvaluation(cfg, KNNSettings(k=2, batch_size=4, num_workers=0))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(5))
    network(torch.zeros(1, 3, 16, 16))
    # Without a preprocessor images stay as they are.
    network.register_forward_pre_hook(lambda module, args: (args[0].float(),))
    wanted = [extract_features(network, one) for one in evaluate.loaders]
    prepare_evaluation(evaluate, tmp_path / 'cache')
    for loader, other in zip(evaluate.loaders, wanted):
        found = extract_features(network, loader)
        assert torch.equal(found.features, other.features)
        assert torch.equal(found.labels, other.labels)
        assert torch.equal(found.indices, other.indices)
