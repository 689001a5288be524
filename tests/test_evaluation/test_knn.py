"""The k-NN classifier against scikit-learn and against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from hvs_mm.evaluation import LabeledFeatures, knn_accuracy
from hvs_mm.evaluation.knn import class_ranks, class_votes
from hvs_mm.evaluation.neighbors import (
    NO_NEIGHBOR,
    nearest_neighbors,
    pack_neighbors,
    unpack_neighbors,
)

KS = (1, 3, 10, 50)
CHUNKS = [(1024, 4096), (1, 9), (7, 5), (64, 33), (10, 1000)]


def random_features(number, seed, dim=8, num_classes=12, noise=1.0):
    """Noisy copies of one direction per class, in odd order."""
    centers = np.random.default_rng(0).standard_normal((num_classes, dim))
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=number)
    features = centers[labels] + noise * rng.standard_normal((number, dim))
    # Lengths must not matter.
    features *= rng.uniform(0.1, 10, size=(number, 1))
    return LabeledFeatures(
        torch.tensor(features, dtype=torch.float32), torch.tensor(labels), torch.arange(number)
    )


def sign_features(number, seed, dim=16):
    """Rows of +-1: their cosines are exact in float32, and many are equal."""
    rng = np.random.default_rng(seed)
    features = rng.choice([-1.0, 1.0], size=(number, dim))
    labels = rng.integers(6, size=number)
    return LabeledFeatures(
        torch.tensor(features, dtype=torch.float32), torch.tensor(labels), torch.arange(number)
    )


def by_hand(bank, queries, k, temperature):
    """Top-1 and top-5 accuracy with loops, in double precision."""
    hits = [0, 0]
    for query, label in zip(queries.features.tolist(), queries.labels.tolist()):
        neighbors = []
        for index, other in enumerate(bank.features.tolist()):
            dot = math.fsum(a * b for a, b in zip(query, other))
            lengths = math.hypot(*query) * math.hypot(*other)
            # Equal ones are equal after rounding, too.
            neighbors.append((-round(dot / lengths, 6), index))
        votes: dict[int, float] = {}
        for negative, index in sorted(neighbors)[:k]:
            own = bank.labels[index].item()
            votes[own] = votes.get(own, 0) + math.exp(-negative / temperature)
        predicted = sorted(votes, key=lambda c: (-votes[c], c))
        hits[0] += predicted[0] == label
        hits[1] += label in predicted[:5]
    return [100 * count / len(queries) for count in hits]


def scikit_learn(bank, queries, k, temperature):
    classifier = KNeighborsClassifier(
        k, metric='cosine', weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    classifier.fit(bank.features.double().numpy(), bank.labels.numpy())
    return classifier, queries.features.double().numpy()


# --- The answer ------------------------------------------------------------------------------


@pytest.mark.parametrize('temperature', [0.07, 0.5])
@pytest.mark.parametrize(('query_chunk', 'bank_chunk'), CHUNKS)
def test_against_scikit_learn(query_chunk, bank_chunk, temperature):
    bank, queries = random_features(331, seed=1), random_features(83, seed=2)
    chunks = dict(query_chunk=query_chunk, bank_chunk=bank_chunk)
    result = knn_accuracy(bank, queries, KS, temperature, **chunks)
    packed = nearest_neighbors(queries.features, bank.features, bank.indices, 50, **chunks)
    similarity, index = unpack_neighbors(packed)
    assert result[1:] == (331, 83)
    assert list(result.accuracy) == list(KS)
    for k in KS:
        classifier, features = scikit_learn(bank, queries, k, temperature)
        shares = classifier.predict_proba(features)
        votes = class_votes(similarity[:, :k], bank.labels[index[:, :k]], temperature, 12)
        votes = (votes / votes.sum(1, keepdim=True)).numpy()
        np.testing.assert_allclose(votes, shares, atol=1e-4)
        top1 = 100 * classifier.score(features, queries.labels.numpy())
        assert result.accuracy[k].top1 == pytest.approx(top1)
        # Classes without a vote are no predictions, in whatever order they come.
        ranked = np.argsort(-shares, axis=1, kind='stable')[:, :5]
        own = queries.labels.numpy()[:, None]
        hits = (ranked == own) & (np.take_along_axis(shares, ranked, 1) > 0)
        assert result.accuracy[k].top5 == pytest.approx(100 * hits.any(1).mean())
    assert 20 < result.accuracy[50].top1 < 90


def test_top5_against_scikit_learn():
    bank, queries = random_features(331, seed=1), random_features(83, seed=2)
    classifier, features = scikit_learn(bank, queries, 150, 0.2)
    shares = classifier.predict_proba(features)
    # scikit-learn also predicts classes without a vote: here there are too few of them.
    assert (shares > 0).sum(1).min() >= 5
    top5 = top_k_accuracy_score(queries.labels.numpy(), shares, k=5)
    assert knn_accuracy(bank, queries, [150], 0.2).accuracy[150].top5 == pytest.approx(100 * top5)


@pytest.mark.parametrize('make', [random_features, sign_features])
@pytest.mark.parametrize(('query_chunk', 'bank_chunk'), CHUNKS)
def test_against_loops(make, query_chunk, bank_chunk):
    bank, queries = make(101, seed=3), make(17, seed=4)
    result = knn_accuracy(bank, queries, KS, 0.1, query_chunk=query_chunk, bank_chunk=bank_chunk)
    for k in KS:
        assert result.accuracy[k] == pytest.approx(by_hand(bank, queries, k, 0.1))


def test_many_blocks_of_queries(monkeypatch):
    bank, queries = random_features(60, seed=1), random_features(45, seed=2)
    whole = knn_accuracy(bank, queries, [5])
    monkeypatch.setattr('hvs_mm.evaluation.knn._BLOCK', 7)
    monkeypatch.setattr('hvs_mm.evaluation.knn._VOTE_CHUNK', 4)
    assert knn_accuracy(bank, queries, [5]) == whole


def test_the_largest_k_is_the_whole_bank():
    bank, queries = random_features(20, seed=1), random_features(9, seed=2)
    result = knn_accuracy(bank, queries, [20])
    assert result.accuracy[20] == pytest.approx(by_hand(bank, queries, 20, 0.07))


# --- Ties ------------------------------------------------------------------------------------


@pytest.mark.parametrize(('query_chunk', 'bank_chunk'), CHUNKS)
def test_equally_near_neighbors_come_by_index(query_chunk, bank_chunk):
    bank, queries = sign_features(200, seed=1), sign_features(20, seed=2)
    # The order in which a bank is given does not matter, only the numbers of its images.
    order = torch.randperm(200)
    packed = nearest_neighbors(
        queries.features,
        bank.features[order],
        order,
        40,
        query_chunk=query_chunk,
        bank_chunk=bank_chunk,
    )
    similarity, index = unpack_neighbors(packed)
    exact = (queries.features @ bank.features.T / 16).tolist()
    for row, values in enumerate(exact):
        expected = sorted((-value, i) for i, value in enumerate(values))[:40]
        assert index[row].tolist() == [i for _, i in expected]
        assert similarity[row].tolist() == [-value for value, _ in expected]


def test_numbers_of_neighbors_sort_like_similarities():
    similarity = torch.tensor([-1.0, -0.5, -1e-30, -0.0, 0.0, 1e-45, 1e-30, 0.5, 1.0, 1.0000001])
    packed = pack_neighbors(similarity, torch.full((10,), 7))
    assert packed[3] == packed[4]
    assert (packed.diff()[[0, 1, 2, 4, 5, 6, 7, 8]] > 0).all()
    assert (packed > NO_NEIGHBOR).all()
    back, index = unpack_neighbors(packed)
    assert torch.equal(back, similarity)
    assert (index == 7).all()
    extremes = torch.tensor([0, 1, 2**31, 2**32 - 1])
    packed = pack_neighbors(torch.full((4,), -0.3), extremes)
    assert torch.equal(unpack_neighbors(packed)[1], extremes)
    # The lower index is nearer.
    assert (packed.diff() < 0).all()


def test_fewer_features_than_neighbors():
    bank = random_features(3, seed=1)
    packed = nearest_neighbors(bank.features, bank.features, bank.indices, 5)
    assert (packed[:, 3:] == NO_NEIGHBOR).all()
    assert (packed[:, :3] != NO_NEIGHBOR).all()
    assert unpack_neighbors(packed[:, 0])[1].tolist() == [0, 1, 2]
    empty = nearest_neighbors(bank.features, torch.empty(0, 0), torch.empty(0, dtype=int), 2)
    assert (empty == NO_NEIGHBOR).all()


def test_equal_votes_go_to_the_lower_class():
    bank = LabeledFeatures(torch.eye(3), torch.tensor([4, 1, 2]), torch.arange(3))
    query = torch.tensor([[1.0, 1.0, 1.0]])

    def accuracy(label):
        query_of_class = LabeledFeatures(query, torch.tensor([label]), torch.arange(1))
        return knn_accuracy(bank, query_of_class, [1, 3]).accuracy

    # The nearest is the first of the bank; all three together elect the lowest class.
    assert [accuracy(label)[1].top1 for label in (4, 1, 2)] == [100, 0, 0]
    assert [accuracy(label)[3].top1 for label in (4, 1, 2)] == [0, 100, 0]
    assert [accuracy(label)[3].top5 for label in (4, 1, 2)] == [100, 100, 100]
    # Nobody voted for class 0, though only three classes are before it.
    assert accuracy(0)[3] == (0, 0)
    assert accuracy(9)[3] == (0, 0)


def test_ranks():
    votes = torch.tensor([[0.0, 2.0, 1.0, 2.0, 0.0, 3.0]])
    ranks = [class_ranks(votes, torch.tensor([label])).item() for label in range(6)]
    assert ranks == [6, 1, 3, 2, 6, 0]


# --- Arithmetic ------------------------------------------------------------------------------


def test_weights_do_not_overflow():
    similarity, labels = torch.tensor([[1.0, 0.9, 0.9]]), torch.tensor([[0, 1, 1]])
    # exp(1 / 1e-4) is infinite even in float64.
    votes = class_votes(similarity, labels, 1e-4, 2)
    assert votes.tolist() == [[1.0, 0.0]]
    votes = class_votes(-similarity, labels, 0.07, 2)
    assert votes[0, 1].item() == pytest.approx(2 * math.exp((1 - 0.9) / 0.07), rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_float32_for_features_of_any_precision(dtype):
    bank, queries = random_features(150, seed=1), random_features(40, seed=2)
    bank, queries = (
        LabeledFeatures(x.features.to(dtype), x.labels, x.indices) for x in (bank, queries)
    )
    packed = nearest_neighbors(queries.features, bank.features, bank.indices, 10)
    full = nearest_neighbors(queries.features.float(), bank.features.float(), bank.indices, 10)
    assert torch.equal(packed, full)
    assert knn_accuracy(bank, queries, [10]).accuracy[10] == pytest.approx(
        by_hand(bank, queries, 10, 0.07)
    )


def test_float32_inside_autocast():
    bank, queries = random_features(150, seed=1), random_features(40, seed=2)
    outside = nearest_neighbors(queries.features, bank.features, bank.indices, 10)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert (queries.features @ bank.features.T).dtype == torch.bfloat16
        inside = nearest_neighbors(queries.features, bank.features, bank.indices, 10)
    assert torch.equal(inside, outside)


def test_a_zero_vector_is_far_from_everything():
    features = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    bank = LabeledFeatures(features, torch.tensor([0, 1]), torch.arange(2))
    query = LabeledFeatures(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.arange(1))
    assert knn_accuracy(bank, query, [1]).accuracy[1].top1 == 100


def test_inputs_stay_as_they_are():
    bank, queries = random_features(50, seed=1), random_features(20, seed=2)
    before = [t.clone() for x in (bank, queries) for t in (x.features, x.labels, x.indices)]
    knn_accuracy(bank, queries, [5])
    after = [t for x in (bank, queries) for t in (x.features, x.labels, x.indices)]
    assert all(torch.equal(a, b) for a, b in zip(before, after))


def test_an_image_counts_once():
    bank, queries = random_features(50, seed=1), random_features(20, seed=2)
    again = torch.tensor([3, 3, *range(50), *range(25)])
    padded_bank = LabeledFeatures(bank.features[again], bank.labels[again], again)
    again = torch.tensor([0, 1, 2, *range(20)])
    padded = LabeledFeatures(queries.features[again], queries.labels[again], again)
    once = knn_accuracy(bank, queries, [1, 9])
    assert knn_accuracy(padded_bank, queries, [1, 9]) == once
    assert knn_accuracy(padded_bank, padded, [1, 9]) == once


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(k=[51]), ValueError, r'k=51 neighbors, but the bank has only 50 images'),
        (dict(k=[0, 5]), ValueError, r'k=\[0, 5\]: every number of neighbors must be at least 1'),
        (dict(k=[-3]), ValueError, r'must be at least 1'),
        (dict(k=[]), ValueError, r'names no number of neighbors'),
        (dict(k=[2.5]), TypeError, r'2.5 is no int'),
        (dict(k=[True]), TypeError, r'True is no int'),
        (dict(temperature=0), ValueError, r'temperature=0 must be positive'),
        (dict(temperature=-0.1), ValueError, r'temperature=-0.1 must be positive'),
        (dict(temperature=float('nan')), ValueError, r'temperature=nan must be positive'),
    ],
)
def test_wrong_settings(settings, error, message):
    bank, queries = random_features(50, seed=1), random_features(20, seed=2)
    with pytest.raises(error, match=message):
        knn_accuracy(bank, queries, **{'k': [5], **settings})


def test_a_bank_that_is_too_small_once_duplicates_are_left_out():
    bank = random_features(5, seed=1)
    again = torch.tensor([0, 1, 2, 3, 4, 0])
    padded = LabeledFeatures(bank.features[again], bank.labels[again], again)
    with pytest.raises(ValueError, match='k=6 neighbors, but the bank has only 5'):
        knn_accuracy(padded, bank, [6])


def test_no_images():
    some, none = random_features(50, seed=1), random_features(0, seed=1)
    with pytest.raises(ValueError, match='no images in the bank'):
        knn_accuracy(none, some, [5])
    with pytest.raises(ValueError, match='no images in the queries'):
        knn_accuracy(some, none, [5])


def test_features_of_different_lengths():
    bank, queries = random_features(50, seed=1), random_features(20, seed=2, dim=9)
    with pytest.raises(ValueError, match='of the bank have length 8, those of the queries 9'):
        knn_accuracy(bank, queries, [5])


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('name', ['bank', 'queries'])
def test_features_that_are_not_finite(name, value):
    data = {'bank': random_features(50, seed=1), 'queries': random_features(20, seed=2)}
    data[name].features[4, 2] = value
    number = len(data[name])
    with pytest.raises(ValueError, match=f'1 of {number} features of the {name} are NaN or inf'):
        knn_accuracy(**data, k=[5])


@pytest.mark.parametrize(
    ('features', 'labels', 'indices', 'error', 'message'),
    [
        (torch.zeros(3, 2), torch.zeros(2).long(), None, ValueError, r'labels have shape \(2,\)'),
        (
            torch.zeros(3, 2),
            torch.zeros(3, 1).long(),
            None,
            ValueError,
            r'labels have shape \(3, 1',
        ),
        (torch.zeros(3, 2), torch.zeros(3), None, TypeError, 'labels have dtype torch.float32'),
        (torch.zeros(3, 2), torch.zeros(3).int(), None, TypeError, 'labels have dtype torch.int32'),
        (torch.zeros(3, 2), torch.tensor([0, -1, 2]), None, ValueError, 'labels lie between -1'),
        (torch.zeros(3, 2), None, torch.arange(4), ValueError, r'indices have shape \(4,\)'),
        (torch.zeros(3, 2), None, torch.arange(3) - 1, ValueError, 'indices lie between -1'),
        (torch.zeros(3, 2), None, torch.arange(3) + 2**32, ValueError, r'less than 2\^32'),
        (torch.zeros(3), None, None, ValueError, r'features have shape \(3,\)'),
        (torch.zeros(3, 2).long(), None, None, TypeError, 'features have dtype torch.int64'),
    ],
)
def test_wrong_data(features, labels, indices, error, message):
    labels = torch.zeros(3, dtype=torch.int64) if labels is None else labels
    indices = torch.arange(3) if indices is None else indices
    with pytest.raises(error, match=message):
        LabeledFeatures(features, labels, indices)
