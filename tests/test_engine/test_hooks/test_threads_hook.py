"""Threads that the first steps of a training decide."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from hvs_mm.engine.hooks import threads_hook
from hvs_mm.engine.hooks.threads_hook import ThreadsHook
from hvs_mm.utils import threads


@pytest.fixture(autouse=True)
def torch_threads(monkeypatch):
    """The number that torch is told, on a machine of 8 cores; the real one stays."""
    told = SimpleNamespace(number=None)
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: setattr(told, 'number', number))
    monkeypatch.setattr(threads, 'usable_cores', lambda: 8)
    monkeypatch.delenv(threads.VARIABLE)
    monkeypatch.delenv(threads.WAITING, raising=False)
    return told


class Run:
    """A run whose steps take a given time with each number of threads."""

    def __init__(self, told, seconds, monkeypatch, workers=0, name='threads'):
        self.told, self.seconds, self.clock, self.used = told, seconds, 0.0, []
        monkeypatch.setattr(threads_hook, 'perf_counter', lambda: self.clock)
        self.runner = SimpleNamespace(
            model=torch.nn.Linear(1, 1),
            train_dataloader=SimpleNamespace(num_workers=workers),
            message_hub=MessageHub.get_instance(name),
            logger=SimpleNamespace(info=lambda text, extra=None: self.lines.append(text)),
        )
        self.lines = []

    def train(self, hook, steps=40):
        hook.before_train(self.runner)
        for _ in range(steps):
            hook.before_train_iter(self.runner)
            self.used.append(self.told.number)
            self.clock += self.seconds[self.told.number]
            hook.after_train_iter(self.runner)
        return self.told.number


@pytest.mark.parametrize(('seconds', 'best'), [
    ({1: 1.0, 2: 1.1, 4: 0.1, 8: 0.1}, 1),
    ({1: 1.0, 2: 0.6, 4: 0.5, 8: 0.49}, 4),
    ({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3}, 8),
])  # fmt: skip
def test_more_threads_until_they_do_not_help(torch_threads, monkeypatch, seconds, best):
    run = Run(torch_threads, seconds, monkeypatch, name=f'threads-{best}')
    assert run.train(ThreadsHook()) == best
    assert run.used[:5] == [1] * 5
    assert run.used[-20:] == [best] * 20
    assert run.lines[-1].startswith(f'training with {best} of 8 threads')


def test_workers_have_their_cores(torch_threads, monkeypatch):
    run = Run(torch_threads, dict.fromkeys(range(9), 1.0), monkeypatch, workers=7, name='one')
    assert run.train(ThreadsHook()) == 1
    run = Run(torch_threads, {n: 1 / n for n in range(1, 9)}, monkeypatch, workers=3, name='five')
    assert run.train(ThreadsHook()) == 5
    # Threads that wait passively may have them, too.
    monkeypatch.setenv(threads.WAITING, 'passive')
    run = Run(torch_threads, {n: 1 / n for n in range(1, 9)}, monkeypatch, workers=3, name='all')
    assert run.train(ThreadsHook()) == 8


def test_a_resumed_run_keeps_its_number(torch_threads, monkeypatch):
    first = Run(torch_threads, {1: 1.0, 2: 0.6, 4: 0.5, 8: 0.49}, monkeypatch, name='resumed')
    first.train(ThreadsHook())
    other = Run(torch_threads, {1: 0.1, 2: 0.6, 4: 0.5, 8: 0.49}, monkeypatch, name='resumed')
    assert other.train(ThreadsHook()) == 4
    assert set(other.used) == {4}


def test_a_number_that_a_user_gives_wins(torch_threads, monkeypatch):
    seconds = {3: 1.0, None: 1.0}
    run = Run(torch_threads, seconds, monkeypatch, name='given')
    assert run.train(ThreadsHook(threads=3)) == 3
    torch_threads.number = None
    monkeypatch.setenv(threads.VARIABLE, '5')
    assert run.train(ThreadsHook()) is None


def test_numbers_that_are_none():
    with pytest.raises(ValueError, match='--threads 0 must be at least 1'):
        ThreadsHook(threads=0)
    with pytest.raises(ValueError, match='--threads 0 must be at least 1'):
        threads.limit_threads(0, threads=0)


def test_limit_threads(torch_threads, monkeypatch):
    threads.limit_threads(num_workers=3)
    assert torch_threads.number == 5
    assert threads.spare_threads(num_workers=3, num_processes=4) == 1
    monkeypatch.setenv(threads.VARIABLE, '2')
    torch_threads.number = None
    threads.limit_threads(num_workers=3)
    assert torch_threads.number is None
    threads.limit_threads(num_workers=3, threads=6)
    assert torch_threads.number == 6
