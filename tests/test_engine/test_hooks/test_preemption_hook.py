"""Signals that a batch system sends, sent to a real run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch import distributed

from hvs_mm.engine import Preempted, PreemptionHook
from hvs_mm.utils.slurm import requeue_job
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny_dino import build_runner, dino_config


class Sender(Hook):
    """Sends this process a signal in the middle of an iteration."""

    def __init__(self, number, iteration, rank=0):
        self.number, self.iteration, self.rank = number, iteration, rank

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == self.iteration and runner.rank == self.rank:
            os.kill(os.getpid(), self.number)


def build(work_dir, number=None, iteration=3, rank=0, checkpoint=True, **settings):
    runner = build_runner(
        work_dir,
        dino_config(),
        num_batches=3,
        max_epochs=2,
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=dict(type='CheckpointHook') if checkpoint else None),
        log_level='WARNING',
        **settings,
    )
    if number is not None:
        runner.register_hook(Sender(number, iteration, rank))
    return runner


def stop(runner):
    with pytest.raises(Preempted) as caught:
        runner.train()
    return caught.value


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The weights of a run that nobody has stopped."""
    runner = build(tmp_path_factory.mktemp('whole'))
    runner.train()
    return runner.model.state_dict()


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_step_and_saves(tmp_path, number, code, whole):
    before = signal.getsignal(number)
    # The second iteration of the second epoch.
    stopped = stop(build(tmp_path, number, 4))
    assert (stopped.code, stopped.signal, stopped.done) == (code, number, 5)
    assert signal.getsignal(number) is before
    path = tmp_path / 'interim_iter_5.pth'
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    runner = build(tmp_path)
    runner._resume = True
    runner.train()
    assert runner._load_from == str(path)
    assert not path.exists()
    state = runner.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.items())


def test_a_second_signal_is_not_held_back(tmp_path):
    class SendAgain(Sender):
        # Two signals at a time may be one to the process.
        def before_train_iter(self, runner, *args, **kwargs):
            pass

        def after_train_iter(self, runner, *args, **kwargs):
            super().before_train_iter(runner)

    runner = build(tmp_path, signal.SIGINT)
    runner.register_hook(SendAgain(signal.SIGINT, 3))
    # A process that a script starts in the background ignores this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_accumulated_gradients_are_not_lost(tmp_path):
    runner = build(tmp_path, signal.SIGTERM, 2, optim_wrapper=dict(accumulative_counts=2))
    assert stop(runner).done == 4


SCONTROL = """#!/bin/sh
echo "$@" >> {log}
echo "Job has already finished" >&2
exit {code}
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A stand-in for Slurm's command, and an element of an array; returns its calls."""

    def start(code=0):
        scontrol, log = tmp_path / 'bin' / 'scontrol', tmp_path / 'calls'
        scontrol.parent.mkdir()
        scontrol.write_text(SCONTROL.format(log=log, code=code))
        scontrol.chmod(0o755)
        log.touch()
        monkeypatch.setenv('PATH', f'{scontrol.parent}:{os.environ["PATH"]}')
        for name, value in (('JOB_ID', '9'), ('ARRAY_JOB_ID', '7'), ('ARRAY_TASK_ID', '3')):
            monkeypatch.setenv(f'SLURM_{name}', value)
        return log

    return start


def test_requeue(tmp_path, slurm, capsys):
    calls = slurm()
    stop(build(tmp_path / 'run', signal.SIGUSR1))
    assert calls.read_text() == 'requeue 7_3\n'
    path = tmp_path / 'run' / 'interim_iter_4.pth'
    assert (
        f'SIGUSR1: stopping after iteration 4; saved {path}; job 7_3 is requeued; exit code 75.'
        in capsys.readouterr().out
    )


def test_slurm_refuses(slurm, monkeypatch):
    slurm(code=1)
    assert requeue_job() == ("job 7_3 is not requeued: scontrol says 'Job has already finished'")
    monkeypatch.setenv('PATH', '')
    assert requeue_job() == 'job 7_3 is not requeued: there is no scontrol on this node'
    monkeypatch.delenv('SLURM_JOB_ID')
    assert requeue_job() is None


def test_without_checkpoints_and_cancelled(tmp_path, slurm, capsys):
    calls = slurm()
    # scancel sends it: nobody wants the job back.
    assert stop(build(tmp_path / 'run', signal.SIGTERM, checkpoint=False)).code == 75
    assert 'nothing is saved' in capsys.readouterr().out
    assert not list(tmp_path.glob('run/*.pth'))
    assert calls.read_text() == ''


def stop_in_ranks(rank, folder):
    # Only the second process gets the signal, which does not save.
    runner, asked, all_reduce = build(folder, signal.SIGUSR1, 1, rank=1), [], distributed.all_reduce

    def count(*args, async_op=False, **kwargs):
        asked.extend([runner.iter + 1] * async_op)
        return all_reduce(*args, async_op=async_op, **kwargs)

    distributed.all_reduce = count
    stopped = stop(runner)
    Path(folder, f'rank_{rank}').write_text(json.dumps([stopped.done, asked]))


def test_all_processes_end_after_the_same_step(tmp_path):
    run_ranks(stop_in_ranks, 2, tmp_path, str(tmp_path))
    done = [json.loads((tmp_path / f'rank_{rank}').read_text()) for rank in range(2)]
    # Gloo answers a step later; it is asked once a step, also about checkpoints by time.
    assert done == [[3, [1, 2]]] * 2
    assert (tmp_path / 'interim_iter_3.pth').is_file()


def test_an_unknown_signal():
    with pytest.raises(ValueError, match="there is no signal 'SIGWHAT'"):
        PreemptionHook(['SIGTERM', 'SIGWHAT'])
