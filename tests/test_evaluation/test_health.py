"""The measures of health, against hand-computed cases and against loops in float64."""

from __future__ import annotations

from itertools import combinations
from math import exp, log, nan

import numpy as np
import pytest
import torch

from hvs_mm.evaluation import (
    alignment,
    feature_std,
    image_information,
    output_entropy,
    rank_me,
    uniformity,
)
from hvs_mm.evaluation.health import OutputEntropy
from hvs_mm.selection.output_sums import OutputSums

#: Added to each of k singular values, epsilon raises a rank of k by less than this share.
EPSILON = 1e-5


def test_rank_of_features_that_are_all_alike():
    features = torch.tensor([1.0, -2.0, 0.5]).expand(7, 3)
    assert rank_me(features) == pytest.approx(1, abs=1e-4)
    # Of one direction, whatever their lengths.
    scaled = features * torch.tensor([[1.0], [-3], [0.1], [5], [2], [2], [9]])
    assert rank_me(scaled) == pytest.approx(1, abs=1e-4)
    assert rank_me(torch.zeros(4, 3)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('size', [1, 2, 16])
def test_rank_of_orthonormal_features(size):
    assert rank_me(torch.eye(size)) == pytest.approx(size, rel=EPSILON)
    # At most the number of images, and of dimensions.
    assert rank_me(torch.eye(size, 2 * size)) == pytest.approx(size, rel=EPSILON)
    assert rank_me(torch.eye(size).repeat(3, 1)) == pytest.approx(size, rel=EPSILON)


def test_rank_for_singular_values_3_and_1():
    # p = 3/4, 1/4
    expected = exp(-0.75 * log(0.75) - 0.25 * log(0.25))
    assert rank_me(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(expected, rel=EPSILON)


def test_rank_has_the_epsilon_of_the_paper():
    features = np.random.default_rng(0).normal(size=(20, 8))
    values = np.linalg.svd(features, compute_uv=False)
    p = values / np.abs(values).sum() + 1e-7
    expected = np.exp(-(p * np.log(p)).sum())
    assert rank_me(torch.from_numpy(features)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('bad', [nan, float('inf')])
def test_rank_of_features_that_are_not_finite(bad):
    features = torch.eye(3)
    features[1, 2] = bad
    assert rank_me(features) != rank_me(features)


def test_std():
    assert feature_std(torch.ones(5, 3) * torch.arange(1, 6)[:, None]) == pytest.approx(0)
    # Of each dimension sqrt(1/2 - 1/4) = 1/2
    assert feature_std(torch.eye(2)) == pytest.approx(0.5 * 2**0.5)
    # Two opposite features: of each dimension 1/sqrt(2)
    assert feature_std(torch.tensor([[1.0, 1], [-1, -1]])) == pytest.approx(1)
    sphere = torch.randn(20000, 64)
    assert feature_std(sphere) == pytest.approx(1, abs=0.01)
    assert feature_std(sphere * torch.rand(20000, 1)) == pytest.approx(1, abs=0.01)


def test_alignment():
    features = torch.randn(6, 4)
    assert alignment(features, features) == 0
    assert alignment(features, 3 * features) == pytest.approx(0)
    assert alignment(features, -features) == pytest.approx(4)
    first, second = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[0.0, 3], [0, 1]])
    # A right angle, 2, and equal directions.
    assert alignment(first, second) == pytest.approx(1)


def test_uniformity():
    assert uniformity(torch.ones(3, 5)) == pytest.approx(0)
    # At a distance of 2: log exp(-2 * 4)
    assert uniformity(torch.tensor([[1.0, 0], [-3, 0]])) == pytest.approx(-8)
    # Two antipodal pairs at right angles: 2 of 6 pairs at a distance of 2, 4 at sqrt(2).
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    expected = log((2 * exp(-8) + 4 * exp(-4)) / 6)
    assert uniformity(square) == pytest.approx(expected)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_against_loops(dtype):
    first, second = (3 * torch.randn(9, 5) + 1).to(dtype), torch.randn(9, 5).to(dtype)
    x, y = ([row / np.linalg.norm(row) for row in f.double().numpy()] for f in (first, second))
    potentials = [np.exp(-2 * np.sum((a - b) ** 2)) for a, b in combinations(x, 2)]
    assert uniformity(first) == pytest.approx(np.log(np.mean(potentials)), rel=1e-12)
    distances = [np.sum((a - b) ** 2) for a, b in zip(x, y)]
    assert alignment(first, second) == pytest.approx(np.mean(distances), rel=1e-12)
    std = [np.std([row[column] for row in x]) for column in range(5)]
    assert feature_std(first) == pytest.approx(np.mean(std) * 5**0.5, rel=1e-12)


def test_information_about_the_image():
    uniform, same = torch.full((6, 4), 0.25), torch.eye(4)[[2] * 6]
    for collapsed in (uniform, same):
        assert image_information(collapsed) == pytest.approx(0, abs=1e-12)
    # Each image has a prototype of its own, among more prototypes.
    assert image_information(torch.eye(3, 8)) == pytest.approx(log(3))
    # Half of the images have one of two prototypes, half say nothing.
    mixed = torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])
    assert image_information(mixed) == pytest.approx(log(2) / 2)


def test_entropies_of_batches_are_those_of_all():
    p = torch.randn(40, 6).softmax(1)
    parts = [OutputSums.of(part) for part in p.split([7, 30, 3])]
    together = OutputSums(*map(sum, zip(*parts)))
    assert OutputEntropy.of(together) == pytest.approx(output_entropy(p))
    rows = p.double().numpy()
    mean = rows.mean(0)
    expected = -(mean * np.log(mean)).sum() + (rows * np.log(rows)).sum(1).mean()
    assert together.information().item() == pytest.approx(expected)
    assert image_information(p) == pytest.approx(expected)
