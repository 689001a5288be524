from __future__ import annotations

import logging
import os

import pytest

from hvs_mm.utils.log_file import LogFile, use_log_file


@pytest.fixture
def logger():
    logger = logging.Logger('of this test')
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_a_full_disk_is_an_error(logger, capsys):
    logger.addHandler(LogFile('/dev/full'))
    with pytest.raises(OSError, match='No space left on device'):
        logger.warning('a line')
    # Its buffer still has the line, which closing would try to write.
    with open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), logger.handlers[0].stream.fileno())
    # A wrong call of the logger is no fault of the disk.
    logger.warning('%d', 'no number')
    assert capsys.readouterr().err.count('Traceback') == 1


def test_the_files_of_a_logger_are_continued(logger, tmp_path):
    path = tmp_path / 'run.log'
    handler = logging.FileHandler(path, encoding='ascii')
    handler.setFormatter(logging.Formatter('%(levelname)s %(message)s'))
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    logger.warning('before')
    use_log_file(logger)
    logger.info('not this')
    logger.warning('läufe/\udce4')
    assert path.read_text(encoding='utf-8') == 'WARNING before\nWARNING läufe/\\udce4\n'
