from __future__ import annotations

import os
import tempfile

import pytest
from mmengine.config import Config

from hvs_mm.engine import WorkDirLock, preflight, preflight_test
from hvs_mm.engine.checks.work_dir_checks import (
    check_not_in_use,
    check_unused,
    check_work_dir,
    remove_checkpoints,
)
from tests.test_engine.test_checks.test_preflight import config


def check(path):
    check_work_dir(Config(dict(work_dir=str(path))))


def test_good_ones(tmp_path, monkeypatch):
    check(tmp_path)
    check(tmp_path / 'a/b')
    monkeypatch.chdir(tmp_path)
    check('a/b')
    check_work_dir(Config())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('below', ['', 'run', 'runs/1'])
def test_a_file_in_the_way(tmp_path, below):
    path = tmp_path / 'file'
    path.touch()
    work_dir = path / below if below else path
    with pytest.raises((NotADirectoryError, FileExistsError)):
        os.makedirs(work_dir, exist_ok=True)
    with pytest.raises(ValueError, match=rf'^work_dir={work_dir}: {path} is no folder.*--work-dir'):
        check(work_dir)


def test_a_link_to_nowhere(tmp_path):
    path = tmp_path / 'link'
    path.symlink_to(tmp_path / 'gone')
    with pytest.raises(ValueError, match='link is no folder'):
        check(path / 'run')


def test_where_nobody_can_write(tmp_path, monkeypatch):
    """As the system says when it is tried: permissions mean nothing to root, nor below /proc."""
    with pytest.raises(ValueError, match=r'work_dir=/proc/run: /proc cannot be written to \('):
        check('/proc/run')

    def refuse(dir):
        raise PermissionError(13, 'Permission denied', str(dir))

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    with pytest.raises(ValueError, match=rf'work_dir={tmp_path}/a/b: {tmp_path} cannot be written'):
        check(tmp_path / 'a/b')


@pytest.mark.parametrize('check_all', [preflight, preflight_test])
def test_before_a_run(tmp_path, check_all):
    (tmp_path / 'file').touch()
    cfg = config()
    cfg.work_dir = str(tmp_path / 'file/run')
    with pytest.raises(ValueError, match='file is no folder'):
        check_all(cfg)


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(ValueError, match=r'a name in it has 256 bytes, and .* at most 255'):
        check(tmp_path / ('ä' * 128) / 'run')
    check(tmp_path / ('ä' * 127) / 'run')


def test_a_work_dir_that_holds_a_run(tmp_path):
    names = ['epoch_9.pth', 'interim_iter_100.pth', 'iter_7.pth']
    others = ['best_acc_epoch_9.pth', 'backbone.pth', 'config.py']
    cfg = Config(dict(work_dir=str(tmp_path)))
    for name in [*others, 'last_checkpoint']:
        (tmp_path / name).touch()
    check_unused(cfg)
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r'3 checkpoint\(s\) such as iter_7.pth: .*--overwrite'):
        check_unused(cfg)
    check_unused(Config(dict(work_dir=str(tmp_path), resume=True)))
    check_unused(Config(dict(work_dir=str(tmp_path / 'new'))))
    remove_checkpoints(cfg)
    check_unused(cfg)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_nothing_is_removed_under_another_run(tmp_path, monkeypatch):
    (tmp_path / 'epoch_1.pth').touch()
    cfg = Config(dict(work_dir=str(tmp_path)))
    lock = WorkDirLock(tmp_path)
    lock.take()
    for check_or_remove in (check_not_in_use, remove_checkpoints):
        with pytest.raises(ValueError, match='has trained in it since'):
            check_or_remove(cfg)
    assert (tmp_path / 'epoch_1.pth').exists()
    # The first process of several does it.
    monkeypatch.setenv('RANK', '1')
    check_not_in_use(cfg)
    lock.release()
    remove_checkpoints(cfg)
    assert (tmp_path / 'epoch_1.pth').exists()
