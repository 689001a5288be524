"""Which checkpoint a run goes on from, by damage done to real files."""

from __future__ import annotations

import os
import time

import pytest
import torch
from mmengine.config import Config

from hvs_mm.engine.runners import checkpoint_paths
from hvs_mm.engine.runners.checkpoint_paths import (
    CheckpointPaths,
    latest_readable_checkpoint,
    why_unreadable,
)


def latest(work_dir, **hook):
    cfg = Config(dict(default_hooks=dict(checkpoint=hook)))
    return latest_readable_checkpoint(CheckpointPaths.from_config(cfg, str(work_dir)))


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(checkpoint_paths, 'print_log', lambda text, **options: texts.append(text))
    return texts


def point_to(work_dir, path):
    (work_dir / 'last_checkpoint').write_text(str(path))


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
    assert latest(tmp_path) is None
    assert latest(tmp_path / 'none') is None


def test_the_newest_not_the_highest_number(tmp_path):
    save(tmp_path / 'epoch_10.pth', age=20)
    newest = save(tmp_path / 'iter_900.pth', age=10)
    # Neither the best nor extracted weights are what a run goes on with.
    save(tmp_path / 'best_knn_epoch_10.pth')
    save(tmp_path / 'backbone.pth')
    assert latest(tmp_path) == str(newest)


def test_the_pointer_names_other_names_and_folders(tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'run').mkdir()
    named = save(tmp_path / 'out' / 'step5.pth', age=10)
    point_to(tmp_path / 'run', named)
    assert latest(tmp_path / 'run') == str(named)
    named = save(tmp_path / 'out' / 'epoch_2.pth', age=10)
    point_to(tmp_path / 'run', named)
    assert latest(tmp_path / 'run') == str(named)
    # Killed between writing the checkpoint and the pointer to it.
    newest = save(tmp_path / 'out' / 'epoch_3.pth')
    assert latest(tmp_path / 'run') == str(newest)


def test_times_that_a_copy_has_mixed_up(tmp_path, said):
    paths = [save(tmp_path / f'epoch_{n}.pth', age=n) for n in (1, 2, 3, 4)]
    point_to(tmp_path, paths[3])
    assert latest(tmp_path) == str(paths[3])
    cut(paths[3])
    os.utime(paths[3], (0, 0))
    assert latest(tmp_path) == str(paths[2])
    (warning,) = said
    assert 'is damaged' in warning
    said.clear()
    # The time is all that is left to go by, and it is told that numbers say something else.
    (tmp_path / 'last_checkpoint').unlink()
    assert latest(tmp_path) == str(paths[0])
    assert f'{paths[0]} is newer than {paths[3]}' in said[0]


def test_what_an_earlier_run_has_left(tmp_path, said):
    save(tmp_path / 'epoch_100.pth', age=1000)
    own = [save(tmp_path / f'epoch_{n}.pth', age=10 - n) for n in (1, 2)]
    point_to(tmp_path, own[1])
    assert latest(tmp_path) == str(own[1])
    cut(own[1])
    assert latest(tmp_path) == str(own[0])
    assert len(said) == 1


def test_a_folder_and_names_of_their_own(tmp_path):
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    hook = dict(out_dir=str(tmp_path / 'out'), filename_tmpl='ck/step_{}.pth')
    assert latest(work_dir, **hook) is None
    folder = tmp_path / 'out' / 'run' / 'ck'
    folder.mkdir(parents=True)
    first, second = (save(folder / f'step_{n}.pth', age=10 - n) for n in (1, 2))
    save(folder / 'step_x.pth')
    # A pointer that a full disk has emptied.
    point_to(work_dir, '')
    assert latest(work_dir, **hook) == str(second)
    cut(second)
    assert latest(work_dir, **hook) == str(first)


def test_a_work_dir_that_was_moved(tmp_path):
    work_dir = tmp_path / 'here'
    work_dir.mkdir()
    last = save(work_dir / 'epoch_2.pth', age=10)
    save(work_dir / 'epoch_1.pth')
    point_to(work_dir, tmp_path / 'there' / 'epoch_2.pth')
    assert latest(work_dir) == str(last)


def test_a_copy_does_not_continue_from_its_original(tmp_path):
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    for folder in (original, copy):
        folder.mkdir()
        save(folder / 'epoch_1.pth', age=10)
        point_to(folder, original / 'epoch_1.pth')
    # It has gone on since.
    point_to(original, save(original / 'epoch_3.pth'))
    assert latest(copy) == str(copy / 'epoch_1.pth')


@pytest.mark.parametrize('pointer', ['', 'gone.pth', '\0\0\0', '\udcff'])
def test_a_broken_pointer(tmp_path, pointer):
    path = save(tmp_path / 'epoch_3.pth')
    (tmp_path / 'last_checkpoint').write_text(pointer, errors='surrogateescape')
    assert latest(tmp_path) == str(path)


@pytest.mark.parametrize('damage', [cut, flip_a_bit, empty, write_text])
def test_a_damaged_newest_is_passed_over_and_reported(tmp_path, said, damage):
    good = save(tmp_path / 'epoch_1.pth', age=10)
    bad = save(tmp_path / 'epoch_2.pth')
    assert latest(tmp_path) == str(bad)
    damage(bad)
    os.utime(bad)
    assert latest(tmp_path) == str(good)
    (warning,) = said
    assert warning.startswith(f'The checkpoint {bad} is damaged and passed over: ')
    assert warning.endswith(f'Going on from {good}.')
    damage(good)
    with pytest.raises(ValueError, match='no checkpoint of'):
        latest(tmp_path)


def test_the_format_before_torch_1_6(tmp_path):
    path = save(tmp_path / 'epoch_1.pth', _use_new_zipfile_serialization=False)
    assert why_unreadable(path) is None
    cut(path)
    assert why_unreadable(path) is not None


@pytest.mark.parametrize('content', [bytes(range(255, 0, -1)), b'a\0b', b'/' + b'x' * 5000, b'\n'])
def test_a_pointer_that_is_no_text(tmp_path, content):
    newest = save(tmp_path / 'epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_bytes(content)
    assert latest(tmp_path) == str(newest)
