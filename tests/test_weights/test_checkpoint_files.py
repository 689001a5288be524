"""Checkpoints that must not be read to their end."""

from __future__ import annotations

import zipfile

import pytest
import torch

from hvs_mm.engine.runners.checkpoint_paths import why_unreadable
from hvs_mm.weights import checkpoint_files
from hvs_mm.weights.checkpoint_files import load_checkpoint


def deflate(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


def test_an_archive_that_grows_is_not_decompressed(tmp_path, monkeypatch):
    plain, bomb = tmp_path / 'plain.pth', tmp_path / 'bomb.pth'
    torch.save({'state_dict': {'weight': torch.zeros(2**20)}}, plain)
    deflate(plain, bomb)
    assert bomb.stat().st_size < plain.stat().st_size / 100
    # Below the limit, in which ordinary files stay whatever their ratio.
    assert load_checkpoint(bomb)['state_dict']['weight'].numel() == 2**20
    assert why_unreadable(plain) is None
    monkeypatch.setattr(checkpoint_files, '_MOST_INFLATED', 2**22)
    read = []
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: read.append(kwargs))
    with pytest.raises(ValueError, match=r'bomb\.pth has .* GiB and holds 0\.0039\d* GiB.*--trust'):
        load_checkpoint(bomb)
    assert not read
    assert 'could fill the memory' in why_unreadable(bomb)
    load_checkpoint(plain)
    load_checkpoint(bomb, trust=True)
    assert [kwargs['weights_only'] for kwargs in read] == [True, False]
