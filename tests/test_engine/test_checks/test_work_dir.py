from __future__ import annotations

import os
import tempfile

import pytest
from mmengine.config import Config

from hvs_mm.engine import preflight, preflight_test
from hvs_mm.engine.checks.preflight import check_work_dir
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
