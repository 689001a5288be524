"""Folders of runs as they are found, complete or not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config

from hvs_mm.runs.run_folder import open_run
from tests.helpers.runs import KINDS, backbone_of, features_of


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a run to damage."""
    folder = shutil.copytree(trained('resnet'), tmp_path / 'run')
    # It names the checkpoint of the original.
    (folder / 'last_checkpoint').unlink()
    return folder


@pytest.mark.parametrize('kind', KINDS)
def test_features_of_every_kind_of_run(kind, trained):
    run = open_run(trained(kind))
    assert run.network == ('teacher' if kind in ('dino', 'ibot') else 'backbone')
    assert (run.checkpoint.name, run.epoch) == ('epoch_1.pth', 1)
    size = KINDS[kind][2]
    assert run.preprocessing['size'] == [size, size]
    assert run.preprocessing['mean'] == pytest.approx([0.485, 0.456, 0.406])
    assert run.preprocessing['std'] == pytest.approx([0.229, 0.224, 0.225])
    assert run.preprocessing['channels'] == 'rgb'
    images = torch.randn(3, 3, size, size)
    expected = features_of(backbone_of(trained(kind)), images)
    torch.testing.assert_close(run.features(images), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('kind', ['dino', 'ibot'])
def test_student(kind, trained):
    run = open_run(trained(kind), network='student')
    images = torch.randn(2, 3, 32, 32)
    expected = features_of(backbone_of(trained(kind), 'student'), images)
    torch.testing.assert_close(run.features(images), expected, atol=1e-6, rtol=1e-6)
    assert not torch.equal(run.features(images), open_run(trained(kind)).features(images))


def test_checkpoint_in_the_place_of_its_folder(trained):
    run = open_run(trained('resnet') / 'epoch_1.pth')
    assert run.folder == trained('resnet')


def test_copy_of_a_folder_has_its_own_checkpoint(trained, tmp_path):
    copy = shutil.copytree(trained('resnet'), tmp_path / 'run')
    assert str(trained('resnet')) in (copy / 'last_checkpoint').read_text()
    assert open_run(copy).checkpoint == copy / 'epoch_1.pth'


def test_folder_of_tools_train(copy):
    # It has no recipe, and dumps the config under the name of its file.
    cfg = Config.fromfile(copy / 'config.py')
    for entry in ('recipe', 'knn_pipeline'):
        cfg.pop(entry)
    (copy / 'config.py').unlink()
    for older in copy.glob('*.py'):
        older.unlink()
    cfg.dump(copy / 'hvs_simclr.py')
    run = open_run(copy)
    assert run.preprocessing['size'] == [224, 224]
    assert run.preprocessing['resize'] == 256


def test_images_that_the_evaluation_leaves_as_they_are_get_the_size_of_the_crops(copy):
    cfg = Config.fromfile(copy / 'config.py')
    cfg.knn_pipeline = [dict(type='PackInputs')]
    cfg.dump(copy / 'config.py')
    assert open_run(copy).preprocessing['size'] == [64, 64]


def test_damaged_checkpoint_is_passed_over(copy):
    content = (copy / 'epoch_1.pth').read_bytes()
    (copy / 'epoch_2.pth').write_bytes(content[: len(content) // 2])
    assert open_run(copy).checkpoint.name == 'epoch_1.pth'


def test_missing_parts(copy, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'nowhere' does not exist. Name the folder"):
        open_run('nowhere')
    (tmp_path / 'images').mkdir()
    with pytest.raises(FileNotFoundError, match=r'is no folder of a run: it has no config\.py'):
        open_run(tmp_path / 'images')
    alone = shutil.copy(copy / 'epoch_1.pth', tmp_path / 'images')
    with pytest.raises(
        FileNotFoundError, match=r"no config beside the checkpoint '.*/epoch_1\.pth"
    ):
        open_run(alone)
    (copy / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(ValueError, match='none of its checkpoints can be read'):
        open_run(copy)
    (copy / 'epoch_1.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'has saved no checkpoint yet.*--resume'):
        open_run(copy)
    (copy / 'config.py').write_text('model = dict(')
    with pytest.raises(ValueError, match=r'config\.py cannot be read \(SyntaxError'):
        open_run(copy)


def test_weights_that_are_not_finite(copy):
    content = torch.load(copy / 'epoch_1.pth', weights_only=False)
    content['state_dict']['backbone.layer1.0.conv1.weight'][0] = np.nan
    torch.save(content, copy / 'epoch_1.pth')
    with pytest.raises(ValueError, match=r'1 of \d+ tensors .* layer1\.0\.conv1.*has diverged'):
        open_run(copy)


def test_settings_that_do_not_fit(trained, copy):
    with pytest.raises(ValueError, match=r"network='teacher': SimCLR has 'backbone'"):
        open_run(copy, network='teacher')
    with pytest.raises(ValueError, match='--device tpu: there is no such device'):
        open_run(copy, device='tpu')
    shutil.copy(trained('dino') / 'epoch_1.pth', copy)
    with pytest.raises(ValueError, match='of another architecture'):
        open_run(copy)
