from __future__ import annotations

import pytest


@pytest.fixture(scope='session')
def class_images(tmp_path_factory, _package):
    """Folder with train/ and val/, each with three class folders."""
    from tests.helpers.runs import class_folders

    folder = tmp_path_factory.mktemp('images')
    class_folders(folder / 'train', 12)
    class_folders(folder / 'val', 4)
    return folder


@pytest.fixture(scope='session')
def trained(tmp_path_factory, class_images):
    """Runs by the names of ``KINDS``, each trained when a test first asks for it."""
    from mmengine.registry import DefaultScope

    from tests.helpers.runs import train_tiny

    folder, runs = tmp_path_factory.mktemp('runs'), {}

    def run(kind):
        if kind not in runs:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                runs[kind] = train_tiny(folder / kind, class_images, kind)
        return runs[kind]

    return run


@pytest.fixture
def command(capsys):
    """Run ``hvs-mm`` in this process; returns what it prints, and fails on errors."""
    from hvs_mm_cli.main import main

    def call(*arguments):
        capsys.readouterr()
        main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert shown.err == ''
        return shown.out

    return call


@pytest.fixture
def refused(capsys):
    """Run ``hvs-mm`` in this process with a mistake; returns the one line that it ends with."""
    from hvs_mm_cli.main import main

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert shown.out + shown.err == ''
        message = stop.value.code
        assert message.startswith('error: ')
        assert '\n' not in message
        return message

    return call
