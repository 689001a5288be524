"""The linear classifier on features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hvs_mm.evaluation import LabeledFeatures
from hvs_mm.study import linear_accuracy
from hvs_mm.study.linear import MAX_ITERATIONS


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
    result = linear_accuracy(bank, queries, c)
    assert result.converged
    # Of 400 queries one may lie on the border.
    assert result.accuracy == pytest.approx(oracle(bank, queries, c), abs=0.3)
    assert 60 < result.accuracy < 95


def test_a_solver_that_did_not_converge_is_told():
    assert not linear_accuracy(blobs(120, 0), blobs(50, 1), 1e6, max_iterations=2).converged
    assert MAX_ITERATIONS >= 1000
