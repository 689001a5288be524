from __future__ import annotations

import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hvs_mm.engine import build_model, preflight
from hvs_mm.engine.checks.trust_checks import check_named_files, is_pickled
from tests.helpers.traps import Shell
from tests.test_engine.test_checks.test_preflight import config


def in_a_tar(trap, path):
    (path.parent / 'pickle').write_bytes(pickle.dumps(trap, 2))
    with tarfile.open(path, 'w') as archive:
        archive.add(path.parent / 'pickle', 'pickle')


def before_an_archive(trap, path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'nothing')
    path.write_bytes(pickle.dumps(trap, 0) + path.read_bytes())


def cut_off(trap, path):
    path.write_bytes(pickle.dumps(trap, 0)[:-1] + b'\xff\xff')


WRITERS = {
    'zip': torch.save,
    'before torch 1.6': lambda trap, path: torch.save(
        trap, path, _use_new_zipfile_serialization=False
    ),
    **{
        f'protocol {number}': lambda trap, path, n=number: path.write_bytes(pickle.dumps(trap, n))
        for number in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    'tar': in_a_tar,
    'before an archive': before_an_archive,
    'cut off': cut_off,
}


@pytest.mark.parametrize('kind', WRITERS)
def test_a_constructor_gets_no_pickle_of_a_stranger(kind, tmp_path, marker):
    path = tmp_path / 'vocabulary.txt'
    WRITERS[kind](Shell(marker), path)
    # The pickle in it would run.
    if kind.startswith(('protocol', 'before an', 'cut')):
        with path.open('rb') as file:
            try:
                pickle.load(file)
            except pickle.UnpicklingError:
                assert kind == 'cut off'
        marker.unlink()
    cfg = Config(dict(model=dict(type='A', parts=[dict(type='B', tokenizer_path=str(path))])))
    with pytest.raises(ValueError, match=rf'^model.parts.0.tokenizer_path: {path} .*--trust'):
        check_named_files(cfg)
    assert not marker.exists()
    check_named_files(cfg, trust=True)


def test_a_class_of_upstream_that_reads_when_it_is_built(tmp_path, marker):
    path = tmp_path / 'clip.txt'
    torch.save({'state_dict': Shell(marker)}, path)
    settings = dict(type='mmpretrain.CLIPGenerator', tokenizer_path=str(path))
    with pytest.raises(KeyError):
        MODELS.build(settings)
    assert marker.exists()
    marker.unlink()
    cfg = config()
    cfg.model.algorithm.target_generator = settings
    for check in (preflight, build_model):
        with pytest.raises(ValueError, match=r'target_generator.tokenizer_path: .*clip.txt holds'):
            check(cfg)
    assert not marker.exists()


@pytest.mark.parametrize(
    'text', ['', 'cat\ndog\nbird\n', 'in\nthe\n.', '(a\n', '[PAD]\n[CLS]\n', json.dumps({'a': [1]})]
)
def test_texts_are_no_pickles(text, tmp_path):
    path = tmp_path / 'words.txt'
    path.write_text(text)
    assert not is_pickled(path)


def test_what_is_let_through(tmp_path):
    torch.save({'weight': torch.ones(2)}, tmp_path / 'good.pth')
    (tmp_path / 'bad.pth').write_bytes(pickle.dumps(Shell(tmp_path)))
    np.savez(tmp_path / 'mean.npz', mean=np.zeros(3))
    model = dict(
        good=str(tmp_path / 'good.pth'),
        numbers=str(tmp_path / 'mean.npz'),
        folder=str(tmp_path),
        missing='nowhere.pth',
        # Looked at when the model stands.
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'bad.pth')),
    )
    check_named_files(Config(dict(model=model)))
