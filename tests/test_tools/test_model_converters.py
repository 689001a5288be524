"""``tools/model_converters``: command lines, files, refusals."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS

from hvs_mm.engine import build_model, read_config
from hvs_mm.weights import checkpoint_files
from hvs_mm.weights.published import from_published
from tests.helpers import published
from tests.helpers.tools import load_tool, run_tool

FOLDER = Path(__file__).parents[2] / 'tools' / 'model_converters'
CONFIG = """
custom_imports = dict(imports=['hvs_mm'])
algorithm = dict(
    type='DINO',
    backbone=dict(
        type='VisionTransformer', arch={arch}, img_size=32, patch_size=8, out_type='cls_token'),
    neck=dict(
        type='DINONeck', in_channels=16, out_channels={prototypes}, hidden_channels=20,
        bottleneck_channels=12),
    head=dict(type='DINOHead', out_channels={prototypes}, num_crops=2))
model = dict(type='HVSAlgorithm', algorithm=algorithm, candidates=[4], keep=[2])
"""


class Unknown:
    """Something that no published checkpoint holds."""


def tool(name: str) -> ModuleType:
    return load_tool(FOLDER / f'{name}.py')


def convert(name: str, *args: Any) -> None:
    tool(name).main([str(arg) for arg in args])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / 'checkpoint.pth'
    torch.save(published.dino_checkpoint(), path)
    return path


def write_config(path: Path, **kwargs: Any) -> Path:
    path.write_text(CONFIG.format(**{'arch': published.ARCH, 'prototypes': 24, **kwargs}))
    return path


def test_there_and_back(source, tmp_path, capsys):
    config = write_config(tmp_path / 'config.py')
    target = tmp_path / 'new' / 'hvs.pth'
    convert('published_to_hvs', source, target, '--config', config)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('converted: backbone.* 30, neck.* 8, teacher.backbone.* 30')
    assert lines[1:] == [
        'not matched: nothing',
        'note: left out, no weights: optimizer, epoch, args.',
        f'fits: {config}',
        f'written: {target}',
    ]
    checkpoint = torch.load(target, weights_only=True)
    assert set(checkpoint) == {'state_dict', 'meta'}
    assert checkpoint['meta']['published'] == 'checkpoint.pth'
    model = build_model(read_config(str(config)))
    load_checkpoint(model, str(target), strict=True)

    back = tmp_path / 'back.pth'
    convert('hvs_to_published', target, back)
    lines = capsys.readouterr().out.splitlines()
    assert 'converted: student 38, teacher 38, dino_loss 1' in lines
    original = torch.load(source, weights_only=False)
    result = torch.load(back, weights_only=True)
    for group in ('student', 'teacher', 'dino_loss'):
        assert result[group].keys() == original[group].keys()
        for key, value in original[group].items():
            assert torch.equal(result[group][key], value), key


def test_command_line_of_a_backbone(tmp_path):
    source, target = tmp_path / 'dino_deitsmall16_pretrain.pth', tmp_path / 'hvs.pth'
    torch.save({**published.vit(), 'extra': torch.zeros(1)}, source)
    process = run_tool('model_converters/published_to_hvs', source, target, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-3:] == [
        'converted: backbone.* 30',
        'not matched: extra',
        f'written: {target}',
    ]
    model = MODELS.build(
        {
            'type': 'VisionTransformer',
            'arch': published.ARCH,
            'img_size': published.SIZE,
            'patch_size': published.PATCH,
            'init_cfg': {'type': 'Pretrained', 'checkpoint': str(target), 'prefix': 'backbone.'},
        }
    )
    model.init_weights()
    expected = from_published(torch.load(source, weights_only=True)).weights
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected[f'backbone.{key}'].float()), key


def test_another_architecture_writes_nothing(source, tmp_path):
    config = write_config(tmp_path / 'config.py', prototypes=32)
    target = tmp_path / 'hvs.pth'
    with pytest.raises(SystemExit) as info:
        convert('published_to_hvs', source, target, '--config', config)
    message = str(info.value)
    assert message.startswith(f'error: the checkpoint is of another architecture than {config}')
    assert 'neck.last_layer.weight_g: (24, 1) in the checkpoint, (32, 1) in the model' in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ['checkpoint.pth', 'config.py']


@pytest.mark.parametrize('name', ['published_to_hvs', 'hvs_to_published'])
def test_nothing_matched(name, tmp_path):
    source = tmp_path / 'other.pth'
    torch.save({'fc1.weight': torch.zeros(1)}, source)
    with pytest.raises(SystemExit, match='error: 0 of 1 names are known'):
        convert(name, source, tmp_path / 'target.pth')
    assert not (tmp_path / 'target.pth').exists()


@pytest.mark.parametrize('name', ['published_to_hvs', 'hvs_to_published'])
def test_existing_output_is_kept(name, source, tmp_path):
    if name == 'hvs_to_published':
        torch.save(from_published(published.dino_checkpoint()).weights, source)
    target = tmp_path / 'target.pth'
    target.write_text('precious')
    with pytest.raises(SystemExit, match='exists: name another file, or add --force'):
        convert(name, source, target)
    assert target.read_text() == 'precious'
    convert(name, source, target, '--force')
    assert torch.load(target, weights_only=True)


def test_failed_writing_leaves_the_older_file(tmp_path, monkeypatch):
    target = tmp_path / 'target.pth'
    target.write_text('precious')

    def fill_disk(checkpoint: Any, path: Path) -> None:
        path.write_text('half')
        raise OSError('No space left on device')

    monkeypatch.setattr(torch, 'save', fill_disk)
    with pytest.raises(OSError, match='No space left'):
        checkpoint_files.save_checkpoint({}, target)
    assert [path.name for path in tmp_path.iterdir()] == ['target.pth']
    assert target.read_text() == 'precious'


@pytest.mark.parametrize('name', ['published_to_hvs', 'hvs_to_published'])
def test_unreadable_files(name, tmp_path):
    target = tmp_path / 'target.pth'
    with pytest.raises(SystemExit, match=r"error: checkpoint '.*none.pth' does not exist"):
        convert(name, tmp_path / 'none.pth', target)
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'not a checkpoint')
    with pytest.raises(SystemExit, match='is no checkpoint that torch can read'):
        convert(name, broken, target)
    assert not target.exists()


def test_missing_config(source, tmp_path):
    with pytest.raises(SystemExit, match=r"error: config 'none.py' does not exist"):
        convert('published_to_hvs', source, tmp_path / 'target.pth', '--config', 'none.py')


def test_objects_that_may_run_code_are_refused(source, tmp_path):
    torch.save({**published.dino_checkpoint(), 'args': Unknown()}, source)
    target = tmp_path / 'target.pth'
    with pytest.raises(SystemExit, match=r'holds a \S*Unknown, .* can run any code.* --trust'):
        convert('published_to_hvs', source, target)
    assert not target.exists()
    convert('published_to_hvs', source, target, '--trust')
    assert target.exists()


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_numbers_of_either_numpy_are_read(module, source, tmp_path):
    """NumPy 2 moved the function that a pickle names."""
    renamed = tmp_path / 'renamed.pth'
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(renamed, 'w') as new:
        for entry in old.namelist():
            content = old.read(entry)
            if entry.endswith('data.pkl'):
                content = content.replace(b'numpy._core.', b'numpy.core.')
                content = content.replace(b'numpy.core.multiarray', module.encode())
                assert module.encode() in content
            new.writestr(entry, content)
    group = checkpoint_files.load_checkpoint(renamed)['optimizer']['param_groups'][0]
    assert group['lr'] == 1e-3


def test_checkpoints_of_mmengine_are_read_without_trust(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    state_dict = from_published(published.dino_checkpoint()).weights
    hub = {'log_scalars': {'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])}}
    torch.save({'state_dict': state_dict, 'message_hub': hub, 'meta': {}}, path)
    loaded = checkpoint_files.load_checkpoint(path)
    assert loaded['message_hub']['log_scalars']['train/loss'].mean() == 1.5
    convert('hvs_to_published', path, tmp_path / 'published.pth')
