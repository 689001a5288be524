"""Which checkpoint a run goes on from, by damage done to real files."""

from __future__ import annotations

import os
import time

import pytest
import torch

from hvs_mm.engine import latest_checkpoint
from hvs_mm.engine.latest_checkpoint import latest_readable_checkpoint, why_unreadable


def save(path, age=0.0, **options):
    """A checkpoint that was written ``age`` seconds ago."""
    torch.save({'state_dict': {'weight': torch.arange(1000.0)}, 'meta': {}}, path, **options)
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    """Of a weight: the file still has the form of a checkpoint."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(500.0, 510).numpy().tobytes())] ^= 1
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b'')


def write_text(path):
    path.write_text('not a checkpoint')


def test_none_in_a_new_folder(tmp_path):
    assert latest_readable_checkpoint(tmp_path) is None
    assert latest_readable_checkpoint(tmp_path / 'none') is None


def test_the_newest_not_the_highest_number(tmp_path):
    save(tmp_path / 'epoch_10.pth', age=20)
    newest = save(tmp_path / 'iter_900.pth', age=10)
    # Neither the best nor extracted weights are what a run goes on with.
    save(tmp_path / 'best_knn_epoch_10.pth')
    save(tmp_path / 'backbone.pth')
    assert latest_readable_checkpoint(tmp_path) == str(newest)


def test_the_pointer_names_other_names_and_folders(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'run').mkdir()
    named = save(tmp_path / 'out' / 'step5.pth', age=10)
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(named))
    assert latest_readable_checkpoint(tmp_path / 'run') == str(named)
    # Killed between writing the checkpoint and the pointer to it.
    newest = save(tmp_path / 'out' / 'epoch_3.pth')
    assert latest_readable_checkpoint(tmp_path / 'run') == str(newest)


@pytest.mark.parametrize('pointer', ['', 'gone.pth', '\0\0\0', '\udcff'])
def test_a_broken_pointer(tmp_path, pointer):
    path = save(tmp_path / 'epoch_3.pth')
    (tmp_path / 'last_checkpoint').write_text(pointer, errors='surrogateescape')
    assert latest_readable_checkpoint(tmp_path) == str(path)


@pytest.mark.parametrize('damage', [cut, flip_a_bit, empty, write_text])
def test_a_damaged_newest_is_passed_over_and_reported(tmp_path, monkeypatch, damage):
    said = []
    monkeypatch.setattr(latest_checkpoint, 'print_log', lambda text, **options: said.append(text))
    good = save(tmp_path / 'epoch_1.pth', age=10)
    bad = save(tmp_path / 'epoch_2.pth')
    assert latest_readable_checkpoint(tmp_path) == str(bad)
    damage(bad)
    os.utime(bad)
    assert latest_readable_checkpoint(tmp_path) == str(good)
    (warning,) = said
    assert warning.startswith(f'The checkpoint {bad} is damaged and passed over: ')
    assert warning.endswith(f'Going on from {good}.')
    damage(good)
    with pytest.raises(ValueError, match='no checkpoint of'):
        latest_readable_checkpoint(tmp_path)


def test_the_format_before_torch_1_6(tmp_path):
    path = save(tmp_path / 'epoch_1.pth', _use_new_zipfile_serialization=False)
    assert why_unreadable(path) is None
    cut(path)
    assert why_unreadable(path) is not None
