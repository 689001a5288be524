"""``tools/analysis/_agreement.py``: agreement of two choices, against loops."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch

from hvs_mm.selection import HardestSelector, RandomSelector, ScoreWeights, ViewGroups
from tests.helpers.tools import load_tool

agreement_with = load_tool('analysis/_agreement').agreement_with

GROUPS = ViewGroups((2, 2, 4), (1, 1, 2), 2)
WEIGHTS = ScoreWeights(0.7, 0.4)


def select(pair_loss, weights=WEIGHTS):
    return HardestSelector()(pair_loss, GROUPS, weights)


def score(pair_loss, views):
    a, c, *local = views
    cross = pair_loss[a, c] + pair_loss[c, a]
    cross += sum(pair_loss[a, k] + pair_loss[c, k] for k in local)
    cross /= 2 + 2 * len(local)
    return 0.7 * cross + 0.4 * (pair_loss[a, a] + pair_loss[c, c]) / 2


def test_against_loops():
    torch.manual_seed(0)
    full, other = select(torch.randn(40, 4, 8)), select(torch.randn(40, 4, 8))
    gaps, left, same = [], [], []
    for b in range(40):
        mean = full.mean_score[b].item()
        gaps.append(score(full.pair_loss[b], full.indices[b].tolist()).item() - mean)
        left.append(score(full.pair_loss[b], other.indices[b].tolist()).item() - mean)
        same.append(full.indices[b].tolist() == other.indices[b].tolist())
    found = agreement_with(full, other.indices, WEIGHTS)
    assert found.images == 40
    assert found.same == pytest.approx(np.mean(same))
    assert found.retained == pytest.approx(sum(left) / sum(gaps), rel=1e-5)


def test_the_same_choice_keeps_everything():
    full = select(torch.randn(20, 4, 8))
    found = agreement_with(full, full.indices, WEIGHTS)
    assert (found.same, found.retained, found.retained_error) == pytest.approx((1, 1, 0), abs=1e-6)


def test_a_random_choice_keeps_nothing():
    torch.manual_seed(0)
    full = select(torch.randn(4000, 4, 8))
    drawn = RandomSelector()(full.pair_loss, GROUPS, WEIGHTS)
    found = agreement_with(full, drawn.indices, WEIGHTS)
    assert abs(found.retained) < 2 * found.retained_error
    # 2 x 2 x 6 combinations
    assert found.same == pytest.approx(1 / 24, abs=0.015)


def test_the_interval_covers_as_often_as_it_says():
    torch.manual_seed(0)
    # The same noise in every sample: about the same share everywhere.
    losses = torch.randn(200 * 50, 4, 8)
    full, noisy = select(losses), select(losses + torch.randn(losses.shape))
    truth = agreement_with(full, noisy.indices, WEIGHTS).retained
    covered = 0
    for start in range(0, len(losses), 50):
        part = slice(start, start + 50)
        found = agreement_with(select(losses[part]), noisy.indices[part], WEIGHTS)
        covered += abs(found.retained - truth) <= found.retained_error
    spread = 4 * (200 * 0.95 * 0.05) ** 0.5
    assert NormalDist().inv_cdf(0.975) == pytest.approx(1.96, abs=1e-3)
    assert abs(covered - 190) < spread


def test_images_without_a_finite_score_are_left_out():
    torch.manual_seed(0)
    full, other = select(torch.randn(6, 4, 8)), select(torch.randn(6, 4, 8))
    expected = agreement_with(select(full.pair_loss[1:]), other.indices[1:], WEIGHTS)
    broken = full.pair_loss.clone()
    broken[0] = float('nan')
    found = agreement_with(select(broken), other.indices, WEIGHTS)
    assert found == expected


def test_without_a_choice():
    full = select(torch.zeros(3, 4, 8))
    with pytest.raises(ValueError, match='3 have finite scores, with a gap of 0'):
        agreement_with(full, full.indices, WEIGHTS)
    full = replace(full, score=full.score / 0)
    with pytest.raises(ValueError, match='of 3 images 0 have finite scores'):
        agreement_with(full, full.indices, WEIGHTS)
