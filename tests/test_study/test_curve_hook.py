"""What is measured between the epochs of a run that does not train."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from hvs_mm.study import Curve, CurveHook
from hvs_mm.study.record import describe_curve, finite

#: Seconds that an iteration, and what is not training, take.
ITERATION, OTHER = 0.05, 0.4


def runner_of(epochs: int, workers: int = 0) -> Any:
    hub = MessageHub.get_instance(f'curve_{time.monotonic_ns()}')
    return SimpleNamespace(
        iter=0,
        epoch=0,
        max_epochs=epochs,
        model=None,
        message_hub=hub,
        logger=logging.getLogger('curve'),
        train_dataloader=SimpleNamespace(num_workers=workers),
    )


def train(hook: CurveHook, runner: Any, epochs: int, losses: tuple[float | None, ...] = (1.0, 2.0)):
    for _ in range(epochs):
        hook.before_train_epoch(runner)
        for loss in losses:
            time.sleep(ITERATION)
            outputs = {} if loss is None else {'loss': torch.tensor(loss)}
            hook.after_train_iter(runner, 0, {'data_samples': [0, 0, 0]}, outputs)
            runner.iter += 1
        hook.after_train_epoch(runner)
        time.sleep(OTHER)
        runner.epoch += 1


def evaluate(_: Any) -> float:
    time.sleep(OTHER)
    return 50.0


def test_training_alone_is_measured():
    hook, runner = CurveHook(evaluate, interval=2), runner_of(3)
    hook.before_train(runner)
    train(hook, runner, 3)
    curve = hook.curve
    assert curve.epoch == [0, 1, 2, 3]
    # Every second epoch, and the last.
    assert curve.knn == [50.0, None, 50.0, 50.0]
    assert (curve.steps, curve.images) == ([0, 2, 4, 6], [0, 6, 12, 18])
    assert curve.loss == [None, 1.5, 1.5, 1.5]
    for epoch, seconds in enumerate(curve.seconds):
        # At least the iterations; an evaluation would be more than all of them.
        assert 2 * ITERATION * epoch <= seconds < 2 * ITERATION * epoch + OTHER
    # Of sleeping.
    assert curve.cpu_seconds[-1] < curve.seconds[-1]


def test_it_goes_on_where_a_checkpoint_was_saved():
    hook, runner = CurveHook(evaluate), runner_of(3)
    hook.before_train(runner)
    train(hook, runner, 2)
    before = hook.curve
    again = CurveHook(lambda _: 60.0, start={'jobs': 2})
    again.before_train(runner)
    assert again.curve == before
    assert again.starts == [{}, {'jobs': 2}]
    train(again, runner, 1)
    assert again.curve.knn == [50.0, 50.0, 50.0, 60.0]
    assert again.curve.seconds[:3] == before.seconds
    assert again.curve.seconds[3] >= before.seconds[2] + 2 * ITERATION
    # A run that starts anew in the same process finds nothing of it.
    runner.iter = runner.epoch = 0
    anew = CurveHook(lambda _: 70.0)
    anew.before_train(runner)
    assert anew.curve.knn == [70.0]
    assert anew.starts == [{}]


@pytest.mark.parametrize('losses', [(None, None), (None, 3.0)])
def test_steps_that_were_skipped_have_no_loss(losses):
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1)
    hook.before_train(runner)
    train(hook, runner, 1, losses)
    assert hook.curve.loss == [None, losses[1]]


def test_the_time_of_workers_is_not_known():
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1, workers=2)
    hook.before_train(runner)
    train(hook, runner, 1)
    assert hook.curve.cpu_seconds == [None, None]


def test_the_time_of_a_gpu_is_not_that_of_the_process(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.synchronize', lambda: None)
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1)
    hook.before_train(runner)
    train(hook, runner, 1)
    assert hook.curve.cpu_seconds == [None, None]
    assert hook.curve.seconds[1] >= 2 * ITERATION


def test_what_json_has_no_numbers_for():
    curve = Curve([0], [0], [0], [1.23456], [None], [float('nan')], [1 / 3])
    assert describe_curve(curve) == {
        'epoch': [0], 'steps': [0], 'seconds': [1.23], 'cpu_seconds': [None], 'loss': [None],
        'knn': [0.333],
    }  # fmt: skip
    assert finite({'a': [float('inf'), {'b': float('nan'), 'c': 1}]}) == {
        'a': [None, {'b': None, 'c': 1}]
    }
