"""Loader workers that hang, die, or get a signal that is meant for the training."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from hvs_mm.engine import describe_loader_failure
from hvs_mm.engine.runners.loader_workers import LOADER_TIMEOUT
from tests.helpers.tiny_dino import build_runner, dino_config


def build(work_dir, hook=None, **loader):
    runner = build_runner(
        work_dir,
        dino_config(),
        num_batches=20,
        max_epochs=1,
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
    )
    runner._train_dataloader.update(num_workers=1, **loader)
    if hook is not None:
        runner.register_hook(hook)
    return runner


class ToWorkers(Hook):
    """Sends a signal to the worker of the loader."""

    def __init__(self, number):
        self.number = number

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 1:
            children = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text()
            (self.worker,) = (pid for pid in map(int, children.split()) if os.getpgid(pid) == pid)
            os.kill(self.worker, self.number)


def in_a_process(function, *arguments):
    """Call a function in a process of its own, which must end by itself; its exit code."""
    process = multiprocessing.get_context('fork').Process(target=function, args=arguments)
    process.start()
    process.join(60)
    try:
        assert not process.is_alive()
    finally:
        process.kill()
    return process.exitcode


def train_with(folder, number):
    torch.set_num_threads(1)
    alarm, hook = signal.getsignal(signal.SIGALRM), ToWorkers(number)
    try:
        build(folder, hook, timeout=1).train()
    except RuntimeError as error:
        (folder / 'said').write_text(f'{describe_loader_failure(error)}')
    finally:
        assert signal.getsignal(signal.SIGALRM) == alarm
        # Killed as well, or it would outlive the test.
        (folder / 'worker').write_text(str(hook.worker))


@pytest.mark.parametrize(
    ('number', 'said'), [(signal.SIGSTOP, 'timed out after '), (signal.SIGKILL, 'worker ')]
)
def test_a_worker_that_hangs_or_dies(tmp_path, number, said):
    assert in_a_process(train_with, tmp_path, number) == 0
    line = (tmp_path / 'said').read_text()
    assert line.startswith(f'DataLoader {said}')
    assert 'train_dataloader.' in line
    assert line.endswith('Continue with --resume.')
    assert '\n' not in line
    stat = Path('/proc', (tmp_path / 'worker').read_text(), 'stat')
    assert not stat.exists() or ') Z ' in stat.read_text()


def test_other_errors():
    assert describe_loader_failure(RuntimeError('CUDA out of memory')) is None


@pytest.mark.parametrize(('workers', 'timeout'), [(0, 0), (2, LOADER_TIMEOUT)])
def test_the_default_timeout(tmp_path, workers, timeout):
    runner = build(tmp_path)
    settings = dict(runner._train_dataloader, num_workers=workers)
    assert runner.build_dataloader(settings).timeout == timeout


def test_a_signal_to_the_process_group(tmp_path):
    """As torchrun sends it: the worker must not die of it before the training has saved."""

    class ToGroup(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 1:
                os.killpg(os.getpgid(0), signal.SIGTERM)

    def train():
        os.setpgid(0, 0)
        torch.set_num_threads(1)
        build(tmp_path, ToGroup()).train()

    assert in_a_process(train) == 75
    assert (tmp_path / 'interim_iter_2.pth').is_file()
