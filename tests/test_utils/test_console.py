from __future__ import annotations

import warnings

import pytest
from mmengine.logging import MMLogger

from hvs_mm.utils import console


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, '_shown', set())
    monkeypatch.setattr(console, '_held_back', [])


def test_logger(tmp_path, capsys):
    path = tmp_path / 'run.log'
    logger = MMLogger(str(tmp_path), log_file=str(path))
    console.quiet_logger(logger)
    logger.info('everything about the machine')
    console.log_to_console(logger, 'accuracy: 0.5, and all the others', short='accuracy 0.5')
    logger.warning('teacher.weight is skipped since its requires_grad=False')
    logger.warning('iteration 3: not finite:\n   loss')
    logger.warning('iteration 3: not finite:\n   loss')
    logger.error('broken')
    logger.warning('x' * 1000)
    *lines, long = capsys.readouterr().out.splitlines()
    assert lines == ['accuracy 0.5', 'warning: iteration 3: not finite: loss', 'error: broken']
    assert long.endswith('xx ... (see the log file)')
    assert len(long) < 640
    text = path.read_text()
    for part in ('machine', 'all the others', 'requires_grad=False', 'broken', 'x' * 1000):
        assert part in text

    # The next run may have the same trouble.
    console.forget_shown()
    logger.handlers[0].filters = logger.handlers[0].filters[1:]
    logger.warning('iteration 3: not finite:\n   loss')
    assert capsys.readouterr().out == 'warning: iteration 3: not finite: loss\n'


def test_other_processes_stay_silent(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('mmengine.logging.logger._get_rank', lambda: 1)
    monkeypatch.setattr(console, 'is_main_process', lambda: False)
    logger = MMLogger(f'{tmp_path}1')
    console.quiet_logger(logger)
    logger.warning('a warning')
    console.log_to_console(logger, 'a result')
    with console.short_warnings():
        warnings.warn('of Python', stacklevel=1)
    assert capsys.readouterr() == ('', '')


def test_imports(capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with console.hold_back_noise():
            print('Could not import OneDL')
            print('something else')
            warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from', stacklevel=1)
            warnings.warn('a real one', stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['a real one']
    assert capsys.readouterr().out == 'something else\n'
    console.print_held_back()
    assert sorted(capsys.readouterr().out.splitlines()) == [
        'Could not import OneDL',
        'warning: Fail to import ``MultiScaleDeformableAttention`` from',
    ]


def test_warnings_of_python(capsys):
    show = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        with console.short_warnings():
            for _ in range(2):
                warnings.warn('too many\n  workers', stacklevel=1)
            warnings.warn('"FileClient" will be deprecated in future', stacklevel=1)
    assert capsys.readouterr().err == 'warning: too many workers\n'
    assert warnings.showwarning is show
