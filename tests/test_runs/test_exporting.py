"""Exported backbones: the printed code gives the features of the run in every library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.testing import assert_close

import hvs_mm
from hvs_mm.runs import exporting
from tests.helpers.runs import KINDS, backbone_of, features_of

LIBRARIES = ('timm', 'torchvision', 'mmpretrain', 'onnx')


def run_printed(shown: str, images: torch.Tensor) -> torch.Tensor:
    """The features that the code at the end of the output computes."""
    code = shown[shown.index('\n# images: ') :]
    names = {'images': images}
    with torch.no_grad():
        exec(code, names)
    return torch.as_tensor(names['features'])


# A ResNet and a teacher show every path; `make test-all` adds the others.
@pytest.mark.parametrize('kind', [
    kind if kind in ('resnet', 'dino') else pytest.param(kind, marks=pytest.mark.slow)
    for kind in KINDS
])  # fmt: skip
@pytest.mark.parametrize('format', LIBRARIES)
def test_printed_code_gives_the_features_of_the_run(format, kind, trained, tmp_path, command):
    out = tmp_path / f'backbone{exporting.FORMATS[format][0]}'
    shown = command('export', trained(kind), '--format', format, '--out', out)
    assert f'written: {out}' in shown
    assert 'checked: features ' in shown
    assert 'note:' not in shown
    size = KINDS[kind][2]
    # Another size of the batch than the export saw.
    for number in (1, 5):
        images = torch.randn(number, 3, size, size)
        expected = features_of(backbone_of(trained(kind)), images)
        assert expected.std() > 1e-3
        assert_close(run_printed(shown, images), expected, atol=1e-5, rtol=1e-5)
    metadata = json.loads(out.with_suffix('.json').read_text())
    assert metadata['features'] == expected.shape[1]
    assert metadata['preprocessing'] == {
        'size': [size, size],
        'resize': size,
        'interpolation': 'bicubic',
        'mean': [0.485, 0.456, 0.406],
        'std': [0.229, 0.224, 0.225],
        'channels': 'rgb',
    }
    assert metadata['network'] == ('teacher' if kind in ('dino', 'ibot') else 'backbone')


@pytest.mark.parametrize('kind', ['resnet', 'dino', 'ibot'])
def test_transformers(kind, trained, tmp_path, command):
    out = tmp_path / 'hf'
    shown = command('export', trained(kind), '--format', 'hf', '--out', out)
    names = {'config.json', 'hvs_mm.json', 'model.safetensors', 'preprocessor_config.json'}
    assert {path.name for path in out.iterdir()} == names
    assert 'checked: features ' in shown
    with safe_open(out / 'model.safetensors', 'pt') as file:
        assert file.metadata()['format'] == 'pt'
    processor = json.loads((out / 'preprocessor_config.json').read_text())
    assert processor['size'] == {'shortest_edge': KINDS[kind][2]}
    size = KINDS[kind][2]
    images = torch.randn(5, 3, size, size)
    expected = features_of(backbone_of(trained(kind)), images)
    assert_close(run_printed(shown, images), expected, atol=1e-5, rtol=1e-5)


def test_without_transformers(trained, tmp_path, command, monkeypatch):
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None)
    shown = command('export', trained('resnet'), '--format', 'hf', '--out', tmp_path / 'hf')
    assert 'not checked: transformers is not installed here' in shown
    assert (tmp_path / 'hf' / 'model.safetensors').is_file()


def test_names_of_transformers(trained, tmp_path):
    # Those of transformers 4.57.
    hvs_mm.export(trained('dino'), 'hf', tmp_path / 'vit')
    linear = [f'{part}.{kind}' for part in (
        'attention.attention.query', 'attention.attention.key', 'attention.attention.value',
        'attention.output.dense', 'intermediate.dense', 'output.dense', 'layernorm_before',
        'layernorm_after') for kind in ('weight', 'bias')]  # fmt: skip
    assert load_file(tmp_path / 'vit' / 'model.safetensors').keys() == {
        'embeddings.cls_token',
        'embeddings.position_embeddings',
        'embeddings.patch_embeddings.projection.weight',
        'embeddings.patch_embeddings.projection.bias',
        'layernorm.weight',
        'layernorm.bias',
        *(f'encoder.layer.{layer}.{name}' for layer in range(12) for name in linear),
    }
    hvs_mm.export(trained('resnet'), 'hf', tmp_path / 'resnet')
    convolutions = [
        'embedder.embedder',
        *(f'encoder.stages.{stage}.layers.0.shortcut' for stage in (1, 2, 3)),
        *(f'encoder.stages.{stage}.layers.{block}.layer.{layer}'
          for stage in range(4) for block in range(2) for layer in range(2)),
    ]  # fmt: skip
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    assert load_file(tmp_path / 'resnet' / 'model.safetensors').keys() == {
        *(f'{name}.convolution.weight' for name in convolutions),
        *(f'{name}.normalization.{part}' for name in convolutions for part in norm),
    }


def test_small_stem_is_not_in_transformers(trained, tmp_path, refused):
    message = refused(
        'export', trained('small_resnet'), '--format', 'hf', '--out', tmp_path / 'new'
    )
    assert 'no stem for small images (3x3, without pooling). Use --format timm' in message
    assert not (tmp_path / 'new').exists()


def test_default_places_and_student(trained, tmp_path):
    run = shutil.copytree(trained('dino'), tmp_path / 'run')
    assert hvs_mm.export(run).path == run / 'backbone_timm.safetensors'
    student = hvs_mm.export(run, network='student')
    assert student.path == run / 'backbone_timm_student.safetensors'
    assert student.metadata['network'] == 'student'
    images = torch.randn(2, 3, 32, 32)
    names = {'images': images}
    with torch.no_grad():
        exec(student.code, names)
    expected = features_of(backbone_of(run, 'student'), images)
    assert_close(names['features'], expected, atol=1e-5, rtol=1e-5)
    with safe_open(student.path, 'pt') as file:
        assert json.loads(file.metadata()['hvs_mm']) == student.metadata


def test_pickle_in_place_of_safetensors(trained, tmp_path, command):
    out = tmp_path / 'backbone.pth'
    shown = command('export', trained('resnet'), '--format', 'torchvision', '--out', out)
    assert 'torch.load(' in shown
    state = torch.load(out, weights_only=True)
    own = backbone_of(trained('resnet')).state_dict()
    assert state.keys() == own.keys()
    images = torch.randn(2, 3, 64, 64)
    expected = features_of(backbone_of(trained('resnet')), images)
    assert_close(run_printed(shown, images), expected, atol=1e-5, rtol=1e-5)


def test_onnx_carries_its_metadata(trained, tmp_path):
    exported = hvs_mm.export(trained('resnet'), 'onnx', tmp_path / 'backbone.onnx')
    session = onnxruntime.InferenceSession(str(exported.path))
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found['preprocessing']) == exported.metadata['preprocessing']
    (images,), (features,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape) == ('images', ['batch', 3, 64, 64])
    assert (features.name, features.shape) == ('features', ['batch', 512])


def test_features_that_differ_are_not_written(trained, tmp_path, monkeypatch, refused):
    rename = exporting.rename_backbone

    def spoil(*args):
        backbone = rename(*args)
        backbone.weights['layer4.1.bn2.bias'] += 0.1
        return backbone

    monkeypatch.setattr(exporting, 'rename_backbone', spoil)
    out = tmp_path / 'backbone.safetensors'
    message = refused('export', trained('resnet'), '--out', out)
    assert 'its features differ from those of the run' in message
    assert not list(tmp_path.glob('*backbone*'))


@pytest.mark.parametrize('format', ['timm', 'hf'])
def test_existing_files_are_kept(format, trained, tmp_path, refused, command):
    out = tmp_path / ('hf' if format == 'hf' else 'backbone.safetensors')
    arguments = ['export', trained('resnet'), '--format', format, '--out', out]
    command(*arguments)
    if format == 'hf':
        (out / 'config.json').write_text('precious')
    assert 'exists: name another file, or add --force' in refused(*arguments)
    if format == 'hf':
        assert (out / 'config.json').read_text() == 'precious'
    else:
        # The file next to it, too.
        out.unlink()
        assert 'backbone.json' in refused(*arguments)
    command(*arguments, '--force')
    assert not list(tmp_path.glob('.*'))


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--format', 'tim'], "--format 'tim' is unknown: did you mean 'timm'?"),
        (['--out', 'x.onnx'], 'the name of a file for timm must end in .safetensors or .pth'),
        (['--format', 'onnx', '--out', 'x.pth'], 'a file for onnx must end in .onnx'),
        (['--out', '/proc/x/y.pth'], 'cannot be written'),
        (['--network', 'teacher'], "network='teacher': SimCLR has 'backbone'"),
    ],
)
def test_mistakes(options, text, trained, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert text in refused('export', trained('resnet'), *options)
    assert not list(Path().iterdir())


def test_missing_packages(trained, tmp_path, monkeypatch, refused, command):
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None)
    message = refused('export', 'run', '--format', 'onnx')
    assert 'needs onnx and onnxruntime: pip install "hvs-mm[export]"' in message
    # The weights for other libraries need nothing.
    out = tmp_path / 'backbone.safetensors'
    shown = command('export', trained('resnet'), '--out', out)
    assert 'not checked: timm is not installed here' in shown
    assert load_file(out)['conv1.weight'].isfinite().all()
