"""One of several training processes dies or hangs: the others end, soon and with an error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
#: Far longer than the test, with a worker in every process.
ENDLESS = [
    'train_dataloader.dataset.num_samples=4096',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=1',
    'train_cfg.max_epochs=1000',
    'default_hooks.logger.interval=1',
]
#: Seconds in which all is over. Measured on busy cores: 2 to 11, the timeout of 6 included.
BOUND = 60


class Launch:
    """A training run of several processes, and all the processes that come of it.

    Args:
        work_dir: Where it writes.
        timeout: Seconds that its processes wait for each other.
    """

    def __init__(self, work_dir: Path, timeout: int = 600) -> None:
        self.work_dir = work_dir
        self.mark = f'HVS_TEST_RUN={uuid.uuid4().hex}'
        self.options = [*ENDLESS, f'env_cfg.dist_cfg.timeout={timeout}']
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            self.port = listener.getsockname()[1]
        self.log = (work_dir / 'output.txt').open('a')
        self.started: list[subprocess.Popen] = []

    def start(self, *command: str, **environment: str) -> subprocess.Popen:
        name, value = self.mark.split('=')
        process = subprocess.Popen(
            [*command, str(ROOT / 'tools/train.py'), 'configs/demo/hvs_simsiam.py',
             '--launcher', 'pytorch', '--work-dir', str(self.work_dir),
             '--cfg-options', *self.options],
            cwd=ROOT,
            env={
                **os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT),
                'CUDA_VISIBLE_DEVICES': '-1', name: value, **environment,
            },
            # A pipe that nobody reads would stop them.
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.started.append(process)
        return process

    def start_torchrun(self) -> subprocess.Popen:
        return self.start(
            sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
            f'--master_port={self.port}',
        )  # fmt: skip

    def start_rank(self, rank: int) -> subprocess.Popen:
        """As a batch system does that starts every process by itself."""
        return self.start(
            sys.executable, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2',
            MASTER_ADDR='127.0.0.1', MASTER_PORT=str(self.port),
        )  # fmt: skip

    def processes(self) -> list[int]:
        """Every process that lives, of this run alone: launchers, ranks and loader workers."""
        found = []
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                environment = (folder / 'environ').read_bytes().decode().split('\0')
                state = (folder / 'stat').read_text().rsplit(')', 1)[1].split()[0]
            except OSError:
                continue
            if self.mark in environment and state != 'Z':
                found.append(int(folder.name))
        return found

    def rank_below(self, launcher: subprocess.Popen, rank: int) -> int:
        """The process of a rank that torchrun has started."""
        (pid,) = [
            pid
            for pid in self.processes()
            if Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[1]
            == str(launcher.pid)
            and f'\0RANK={rank}\0' in Path(f'/proc/{pid}/environ').read_text()
        ]
        return pid

    def wait_for_steps(self) -> None:
        """Until the run is in the middle of its first epoch."""

        def has_steps() -> bool:
            assert all(process.poll() is None for process in self.started), self.output()
            files = list(self.work_dir.glob('*/vis_data/scalars.json'))
            return bool(files) and files[0].read_text().count('"loss"') >= 3

        wait_until(has_steps, 120)

    def output(self) -> str:
        return (self.work_dir / 'output.txt').read_text()

    def stop(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()
        self.log.close()


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s'
        time.sleep(0.1)


@pytest.fixture
def launch(tmp_path) -> Iterator[Callable[..., Launch]]:
    launches: list[Launch] = []

    def make(**settings) -> Launch:
        launches.append(Launch(tmp_path, **settings))
        return launches[-1]

    yield make
    for one in launches:
        one.stop()


def test_a_killed_rank_ends_torchrun(launch):
    run = launch()
    torchrun = run.start_torchrun()
    run.wait_for_steps()
    # Launcher, ranks and their workers.
    assert len(run.processes()) >= 5
    os.kill(run.rank_below(torchrun, 1), signal.SIGKILL)
    assert torchrun.wait(BOUND) != 0
    wait_until(lambda: not run.processes(), BOUND)
    assert 'SIGKILL' in run.output()


def test_a_killed_rank_without_a_launcher(launch):
    """The first one, which holds the store in which they meet."""
    run = launch()
    ranks = [run.start_rank(rank) for rank in range(2)]
    run.wait_for_steps()
    ranks[0].kill()
    assert ranks[1].wait(BOUND) != 0
    # The worker of the killed process notices by itself.
    wait_until(lambda: not run.processes(), BOUND)
    assert 'Connection' in run.output()


def test_a_rank_that_hangs(launch):
    run = launch(timeout=6)
    ranks = [run.start_rank(rank) for rank in range(2)]
    run.wait_for_steps()
    ranks[1].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    assert ranks[0].wait(BOUND) != 0
    # It was waited for, not given up at once.
    assert time.monotonic() - stopped > 4
    assert ranks[1].poll() is None
    assert 'imed out' in run.output()


def test_a_rank_that_never_comes(launch):
    run = launch(timeout=3)
    assert run.start_rank(0).wait(BOUND) != 0
    assert not run.processes()
    assert '1/2' in run.output()
