"""One of several training processes dies or hangs: the others end, soon and with an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.tools import ROOT, ToolProcess, rank_environments

pytestmark = pytest.mark.slow
#: Far longer than the test, with a worker in every process.
ENDLESS = [
    'train_dataloader.dataset.num_samples=4096',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=1',
    'train_cfg.max_epochs=1000',
    'default_hooks.logger.interval=1',
    'default_hooks.panel=None',
]
#: Seconds in which all is over. Measured on busy cores: 2 to 11, the timeout of 6 included.
BOUND = 60


def arguments(work_dir: Path, timeout: int = 600) -> list[str]:
    """The command line of a process that waits for the others for so many seconds."""
    options = [*ENDLESS, f'env_cfg.dist_cfg.timeout={timeout}']
    return [
        'configs/demo/hvs_simsiam.py', '--launcher', 'pytorch', '--work-dir', str(work_dir),
        '--cfg-options', *options,
    ]  # fmt: skip


def processes() -> dict[int, int]:
    """The parents of all processes that live."""
    found = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, parent = path.read_text().rsplit(')', 1)[1].split()[:2]
        except OSError:
            continue
        if state != 'Z':
            found[int(path.parent.name)] = int(parent)
    return found


def below(*pids: int) -> set[int]:
    """The processes with these numbers, and all that come of them: ranks and loader workers."""
    parents, found = processes(), set(pids)
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s'
        time.sleep(0.1)


def wait_for_steps(work_dir: Path, is_running: Callable[[], bool]) -> None:
    """Until the run is in the middle of its first epoch."""

    def has_steps() -> bool:
        assert is_running()
        files = list(work_dir.glob('*/vis_data/scalars.json'))
        return bool(files) and files[0].read_text().count('"loss"') >= 3

    wait_until(has_steps, 120)


@pytest.fixture
def start_ranks(tmp_path: Path) -> Iterator[Callable[..., list[ToolProcess]]]:
    """Start processes by themselves, as a batch system does."""
    ranks: list[ToolProcess] = []

    def start(count: int, **settings: int) -> list[ToolProcess]:
        for environment in rank_environments(2)[:count]:
            ranks.append(ToolProcess('train', *arguments(tmp_path, **settings), **environment))
        return ranks

    yield start
    for rank in ranks:
        rank.kill()


def a_rank(torchrun: int) -> int:
    (rank,) = (
        pid
        for pid, parent in processes().items()
        if parent == torchrun and b'\0RANK=1\0' in Path(f'/proc/{pid}/environ').read_bytes()
    )
    return rank


@pytest.mark.parametrize(
    ('number', 'to_rank', 'said', 'saves'),
    [
        (signal.SIGKILL, True, 'SIGKILL', False),
        # As a batch system stops a job: the loader workers are in the process group that gets it.
        (signal.SIGTERM, False, 'SIGTERM: stopping after iteration', True),
        (signal.SIGKILL, False, 'has died, which started this one', False),
    ],
)
def test_torchrun(tmp_path: Path, number: int, to_rank: bool, said: str, saves: bool) -> None:
    path = tmp_path / 'output.txt'
    # A pipe that nobody reads would stop them.
    with path.open('w') as output:
        torchrun = subprocess.Popen(
            [
                sys.executable, '-m', 'torch.distributed.run', '--standalone',
                '--nproc_per_node=2', 'tools/train.py', *arguments(tmp_path),
            ],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': '-1'},
            stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    started = {torchrun.pid}
    try:
        wait_for_steps(tmp_path, lambda: torchrun.poll() is None)
        # Launcher, ranks and their workers.
        started = below(torchrun.pid)
        assert len(started) >= 5
        os.kill(a_rank(torchrun.pid) if to_rank else torchrun.pid, number)
        assert torchrun.wait(BOUND) != 0
        wait_until(lambda: not started & processes().keys(), BOUND)
        assert said in path.read_text()
        assert bool(list(tmp_path.glob('interim_iter_*.pth'))) == saves
    finally:
        for pid in (started | below(torchrun.pid)) & processes().keys():
            os.kill(pid, signal.SIGKILL)
        torchrun.wait()


def test_a_killed_rank_without_a_launcher(tmp_path: Path, start_ranks: Callable) -> None:
    """The first one, which holds the store in which they meet."""
    ranks = start_ranks(2)
    wait_for_steps(tmp_path, lambda: all(rank.is_running() for rank in ranks))
    started = below(*(rank.pid for rank in ranks))
    assert len(started) >= 4
    ranks[0].kill()
    ended = ranks[1].wait(BOUND)
    assert ended.returncode != 0
    # The worker of the killed process notices by itself.
    wait_until(lambda: not started & processes().keys(), BOUND)
    assert 'Connection' in ended.stdout + ended.stderr


def test_a_rank_that_hangs(tmp_path: Path, start_ranks: Callable) -> None:
    ranks = start_ranks(2, timeout=6)
    wait_for_steps(tmp_path, lambda: all(rank.is_running() for rank in ranks))
    os.kill(ranks[1].pid, signal.SIGSTOP)
    stopped = time.monotonic()
    ended = ranks[0].wait(BOUND)
    assert ended.returncode != 0
    # It was waited for, not given up at once.
    assert time.monotonic() - stopped > 4
    assert ranks[1].is_running()
    assert 'imed out' in ended.stdout + ended.stderr


def test_a_rank_that_never_comes(start_ranks: Callable) -> None:
    (rank,) = start_ranks(1, timeout=3)
    ended = rank.wait(BOUND)
    assert ended.returncode != 0
    assert '1/2' in ended.stdout + ended.stderr
