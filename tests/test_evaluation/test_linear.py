"""The linear classifier against scikit-learn's, and its choice of the weight decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hvs_mm.evaluation import LabeledFeatures, linear_accuracy


def clouds(number, classes=4, dim=20, spread=3.0, seed=0):
    """Overlapping clouds of points around a center per class, each feature of its own scale."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (number,), generator=generator)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(7))
    points = centers[labels] + spread * torch.randn(number, dim, generator=generator)
    return LabeledFeatures(points * torch.logspace(-2, 2, dim) + 5, labels, torch.arange(number))


@pytest.mark.parametrize('decay', [1.0, 0.01, 1e-4])
def test_accuracy_is_that_of_scikit_learn(decay):
    bank, queries = clouds(300), clouds(500, seed=1)
    scaler = StandardScaler().fit(bank.features)
    oracle = LogisticRegression(C=1 / (decay * len(bank)), max_iter=2000, tol=1e-8)
    oracle.fit(scaler.transform(bank.features), bank.labels)
    scores = oracle.predict_proba(scaler.transform(queries.features))
    right = scores.argmax(1) == queries.labels.numpy()
    found = linear_accuracy(bank, queries, decays=[decay])
    assert found.weight_decay == decay
    # Two of 500 may lie on a border.
    assert found.accuracy.top1 == pytest.approx(100 * right.mean(), abs=0.4)
    assert found.accuracy.top1 > 40
    assert found.accuracy.top5 == 100


def test_top5():
    bank, queries = clouds(400, classes=8), clouds(300, classes=8, seed=1)
    scaler = StandardScaler().fit(bank.features)
    oracle = LogisticRegression(C=1 / (0.1 * len(bank)), max_iter=2000, tol=1e-8)
    oracle.fit(scaler.transform(bank.features), bank.labels)
    best = np.argsort(-oracle.predict_proba(scaler.transform(queries.features)), axis=1)[:, :5]
    right = (best == queries.labels.numpy()[:, None]).any(1)
    found = linear_accuracy(bank, queries, decays=[0.1]).accuracy
    assert found.top5 == pytest.approx(100 * right.mean(), abs=0.7)


def test_the_decay_fits_the_data():
    # Many noisy features and few images: with little decay the classifier learns the noise.
    noisy = [
        clouds(number, dim=300, spread=12.0, seed=seed) for seed, number in ((0, 400), (1, 1000))
    ]
    found = linear_accuracy(*noisy)
    assert found.weight_decay == 1.0
    assert found.accuracy.top1 > linear_accuracy(*noisy, decays=[1e-4]).accuracy.top1 + 2
    clean = [clouds(3000, dim=5, spread=1.0, seed=seed) for seed in (0, 1)]
    assert linear_accuracy(*clean).weight_decay < 1.0


def test_same_result_every_time():
    bank, queries = clouds(200), clouds(100, seed=1)
    first = linear_accuracy(bank, queries)
    torch.manual_seed(5)
    assert linear_accuracy(bank, queries) == first


def test_features_that_are_the_same_for_all_images_count_nothing():
    bank, queries = clouds(200), clouds(100, seed=1)
    expected = linear_accuracy(bank, queries, decays=[0.01])
    more = [
        LabeledFeatures(torch.cat([part.features, torch.full((len(part), 2), 0.1)], 1), *rest)
        for part, *rest in ((p, p.labels, p.indices) for p in (bank, queries))
    ]
    assert linear_accuracy(*more, decays=[0.01]) == expected


def test_class_without_known_images_is_never_right():
    bank, queries = clouds(200, classes=2), clouds(100, classes=2, seed=1)
    queries = LabeledFeatures(queries.features, torch.full((100,), 6), queries.indices)
    assert linear_accuracy(bank, queries, decays=[1e-4]).accuracy.top1 == 0


def test_few_images():
    bank = LabeledFeatures(torch.eye(3), torch.arange(3), torch.arange(3))
    assert linear_accuracy(bank, bank, decays=[0.01]).accuracy == (100, 100)


def test_mistakes():
    bank = clouds(20)
    bad = LabeledFeatures(bank.features.clone().fill_(torch.nan), bank.labels, bank.indices)
    with pytest.raises(ValueError, match='20 of 20 features of the queries are NaN'):
        linear_accuracy(bank, bad)
    none = bank.select(torch.zeros(20, dtype=torch.bool))
    with pytest.raises(ValueError, match='there are no images in the bank'):
        linear_accuracy(none, bank)
