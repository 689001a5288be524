"""What ``tools/dev/soak.py`` takes for a failure. CI runs all of it, with ``make soak``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.tools import load_tool

TOOL = 'dev/soak'


def life(pid, first, last, rss=1e8, files=30.0, slope=0.0):
    """A line an iteration, as the tool's hook writes them."""
    return [
        {
            'iter': number,
            'loss': float(np.sin(number)),
            'skipped': False,
            'pid': pid,
            'rss': rss + slope * (number - first),
            'files': files,
        }
        for number in range(first, last)
    ]


@pytest.fixture(scope='module')
def soak():
    return load_tool(TOOL)


def test_a_run_in_two_lives(soak):
    entries = life(1, 0, 300) + life(2, 280, 900)
    assert soak.check_losses(entries) == []
    growth = soak.measure_growth(entries)
    assert soak.check_growth(growth) == []
    assert growth['rss'][0] == pytest.approx(0, abs=1e-6)


def test_another_loss_when_done_again(soak):
    entries = life(1, 0, 300) + life(2, 280, 600)
    entries[310]['loss'] += 1e-7
    (problem,) = soak.check_losses(entries)
    assert problem.startswith('the loss of iteration 290 was')


@pytest.mark.parametrize('loss', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite(soak, loss):
    entries = life(1, 0, 10)
    entries[4]['loss'] = loss
    assert soak.check_losses(entries)[0] == f'the loss of iteration 4 is {loss}'


def test_a_gap(soak):
    assert soak.check_losses(life(1, 0, 100) + life(2, 120, 200)) == [
        '20 of 200 iterations are missing'
    ]
    assert soak.check_losses([]) == ['0 of 0 iterations are missing']


def test_leaks(soak):
    # 40 KiB an iteration, in a life that is long enough to tell.
    leak = life(1, 0, 40) + life(2, 40, 600, slope=40 * 2**10)
    (problem,) = soak.check_growth(soak.measure_growth(leak))
    assert problem.startswith('rss grows by 39.06 MiB per 1000 iterations')
    leak = life(1, 0, 800)
    for number, entry in enumerate(leak):
        entry['files'] += number // 100
    (problem,) = soak.check_growth(soak.measure_growth(leak))
    assert problem.startswith('files grows')
    # Too short to tell.
    assert soak.measure_growth(life(1, 0, 300, slope=1e6)) == {}


@pytest.mark.parametrize('arguments', [['--minutes', '0'], ['--mean-life', '-1']])
def test_bad_input(soak, capsys, arguments):
    with pytest.raises(SystemExit):
        soak.main(arguments)
    assert 'must be positive' in capsys.readouterr().err


def test_a_folder_of_something_else_stays(soak, capsys, tmp_path):
    (tmp_path / 'precious').touch()
    with pytest.raises(SystemExit):
        soak.main(['--work-dir', str(tmp_path)])
    assert 'is not of a soak' in capsys.readouterr().err
    assert (tmp_path / 'precious').exists()
