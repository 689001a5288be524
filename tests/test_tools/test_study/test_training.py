"""The curve of a run that does not train, and the linear classifier on features."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from scipy.optimize import minimize

from hvs_mm.evaluation import LabeledFeatures
from hvs_study.record import describe_curve, finite
from hvs_study.training import MAX_ITERATIONS, CurveHook, linear_accuracy

#: Seconds that an iteration, and what is not training, take.
ITERATION, OTHER = 0.01, 0.15


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
    assert curve['epoch'] == [0, 1, 2, 3]
    # Every second epoch, and the last.
    assert curve['knn'] == [50.0, None, 50.0, 50.0]
    assert curve['steps'] == [0, 2, 4, 6]
    assert curve['loss'] == [None, 1.5, 1.5, 1.5]
    for epoch, seconds in enumerate(curve['seconds']):
        # At least the iterations; an evaluation would be more than all of them.
        assert 2 * ITERATION * epoch <= seconds < 2 * ITERATION * epoch + OTHER
    # Of sleeping.
    assert curve['cpu_seconds'][-1] < curve['seconds'][-1]


def test_it_resumes_where_a_checkpoint_was_saved():
    hook, runner = CurveHook(evaluate), runner_of(3)
    hook.before_train(runner)
    train(hook, runner, 2)
    before = hook.curve
    again = CurveHook(lambda _: 60.0, start={'jobs': 2})
    again.before_train(runner)
    assert again.curve == before
    assert again.starts == [{}, {'jobs': 2}]
    train(again, runner, 1)
    assert again.curve['knn'] == [50.0, 50.0, 50.0, 60.0]
    assert again.curve['seconds'][:3] == before['seconds']
    assert again.curve['seconds'][3] >= before['seconds'][2] + 2 * ITERATION
    # A run that starts again in the same process finds nothing of it.
    runner.iter = runner.epoch = 0
    fresh = CurveHook(lambda _: 70.0)
    fresh.before_train(runner)
    assert fresh.curve['knn'] == [70.0]
    assert fresh.starts == [{}]


@pytest.mark.parametrize('losses', [(None, None), (None, 3.0)])
def test_steps_that_were_skipped_have_no_loss(losses):
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1)
    hook.before_train(runner)
    train(hook, runner, 1, losses)
    assert hook.curve['loss'] == [None, losses[1]]


def test_the_time_of_workers_is_not_known():
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1, workers=2)
    hook.before_train(runner)
    train(hook, runner, 1)
    assert hook.curve['cpu_seconds'] == [None, None]


def test_the_time_of_a_gpu_is_not_that_of_the_process(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.synchronize', lambda: None)
    hook, runner = CurveHook(lambda _: 50.0), runner_of(1)
    hook.before_train(runner)
    train(hook, runner, 1)
    assert hook.curve['cpu_seconds'] == [None, None]
    assert hook.curve['seconds'][1] >= 2 * ITERATION


def test_what_json_has_no_numbers_for():
    curve = dict(epoch=[0], steps=[0], seconds=[1.23456], cpu_seconds=[None])
    curve |= dict(loss=[float('nan')], knn=[1 / 3])
    assert describe_curve(curve) == {
        'epoch': [0], 'steps': [0], 'seconds': [1.23], 'cpu_seconds': [None], 'loss': [None],
        'knn': [0.333],
    }  # fmt: skip
    assert finite({'a': [float('inf'), {'b': float('nan'), 'c': 1}]}) == {
        'a': [None, {'b': None, 'c': 1}]
    }


# --- The linear classifier -------------------------------------------------------------------


def blobs(number: int, seed: int) -> LabeledFeatures:
    """Three classes that overlap, in features of very different scales."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=number)
    centers = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 1.0], [0.0, 2.0, -1.0]])
    features = (centers[labels] + generator.normal(size=(number, 3))) * [1000.0, 1.0, 0.01]
    return LabeledFeatures(
        torch.from_numpy(features).float(), torch.from_numpy(labels), torch.arange(number)
    )


def oracle(bank: LabeledFeatures, queries: LabeledFeatures, c: float) -> float:
    """Softmax regression with a penalty of |W|^2 / 2 and C times the sum of the losses."""
    x, y = bank.features.double().numpy(), bank.labels.numpy()
    mean, deviation = x.mean(0), x.std(0)
    x, q = (x - mean) / deviation, (queries.features.double().numpy() - mean) / deviation

    def loss(parameters: np.ndarray) -> float:
        weights, bias = parameters[:9].reshape(3, 3), parameters[9:]
        logits = x @ weights + bias
        logits -= logits.max(1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return (weights**2).sum() / 2 - c * log_p[np.arange(len(y)), y].sum()

    found = minimize(loss, np.zeros(12), method='BFGS').x
    predicted = (q @ found[:9].reshape(3, 3) + found[9:]).argmax(1)
    return 100 * (predicted == queries.labels.numpy()).mean()


@pytest.mark.parametrize('c', [0.003, 1.0])
def test_against_an_optimizer(c):
    bank, queries = blobs(120, 0), blobs(400, 1)
    accuracy, converged = linear_accuracy(bank, queries, c)
    assert converged
    # Of 400 queries one may lie on the border.
    assert accuracy == pytest.approx(oracle(bank, queries, c), abs=0.3)
    assert 60 < accuracy < 95


def test_a_solver_that_did_not_converge_is_reported():
    _, converged = linear_accuracy(blobs(120, 0), blobs(50, 1), 1e6, max_iterations=2)
    assert not converged
    assert MAX_ITERATIONS >= 1000
