"""Rules for global and for local crops, against loops."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
import torch

from hvs_mm.selection import (
    HardestSelector,
    PerGroupSelector,
    QuantileSelector,
    ScoreWeights,
    ViewGroups,
    build_selector,
)
from tests.helpers.scores import check_shares, scores_by_hand

CROPS = ViewGroups([2, 2, 4], [1, 1, 2], 2)
WEIGHTS = ScoreWeights(0.5, 2.0)


def by_targets(pair_loss, groups=CROPS, weights=WEIGHTS):
    """The scores (B, choices of targets, choices of local views)."""
    targets = len(groups.target_combinations())
    return scores_by_hand(pair_loss, groups, weights).unflatten(1, (targets, -1))


def build(**rules):
    return build_selector({'type': 'per_group', **rules})


def test_hard_global_crops_and_random_local_ones():
    pair_loss = torch.randn(1, 4, 8)
    best = by_targets(pair_loss)[0].mean(1).argmax()
    expected = torch.zeros(4, 6)
    expected[best] = 1 / 6
    for selector in (
        build(global_crops='hardest'),
        build(global_crops='hardest', local_crops='random'),
    ):
        check_shares(selector, pair_loss, CROPS, expected.flatten(), WEIGHTS)


def test_hard_local_crops_only():
    pair_loss = torch.randn(1, 4, 8)
    scores = by_targets(pair_loss)[0]
    expected = torch.zeros(4, 6)
    expected[torch.arange(4), scores.argmax(1)] = 1 / 4
    check_shares(build(local_crops='hardest'), pair_loss, CROPS, expected.flatten(), WEIGHTS)


def test_softened_in_both():
    pair_loss = torch.randn(1, 4, 8)
    scores = by_targets(pair_loss)[0]

    def softmax(values, temperature):
        values = values - values.mean(-1, keepdim=True)
        return (values / values.std(-1, correction=0, keepdim=True) / temperature).softmax(-1)

    expected = softmax(scores.mean(1), 0.8)[:, None] * softmax(scores, -0.5)
    rules = {
        'global_crops': {'type': 'softened', 'temperature': 0.8},
        'local_crops': {'type': 'softened', 'temperature': -0.5},
    }
    check_shares(build(**rules), pair_loss, CROPS, expected.flatten(), WEIGHTS)


def test_several_local_groups():
    """The rule chooses in each of them, by the losses to the global crops."""
    groups = ViewGroups([3, 4, 3], [2, 2, 1])
    pair_loss = torch.randn(20, 3, 10)
    selection = build(global_crops='easiest', local_crops={'type': 'quantile', 'quantile': 0.8})(
        pair_loss, groups
    )
    scores = by_targets(pair_loss, groups, ScoreWeights())
    for row, kept in enumerate(selection.indices.tolist()):
        targets = groups.target_combinations()[scores[row].mean(1).argmin()]
        terms = pair_loss[row, list(targets)].sum(0)
        pairs = sorted(combinations(range(3, 7), 2), key=lambda pair: terms[list(pair)].sum())
        # 0.8 * (6 - 1), and 0.8 * (3 - 1) rounded
        single = sorted(range(7, 10), key=lambda view: terms[view])[2]
        assert kept == [*targets, *pairs[4], single]


def test_without_local_crops():
    pair_loss, groups = torch.randn(20, 4, 4), ViewGroups([4], [2])
    expected = HardestSelector()(pair_loss, groups)
    assert build(global_crops='hardest')(pair_loss, groups).indices.equal(expected.indices)
    with pytest.raises(ValueError, match=r'^selector\.local_crops is set, but every group .*leave'):
        build(local_crops='random')(pair_loss, groups)


def test_where_all_local_crops_are_kept_global_ones_go_by_the_whole_score():
    """The half of iBOT's published selection that is a choice."""
    pair_loss, groups = torch.randn(20, 4, 6), ViewGroups([4, 2], [2, 2])
    expected = HardestSelector()(pair_loss, groups, WEIGHTS)
    selection = build(global_crops='hardest')(pair_loss, groups, WEIGHTS)
    assert selection.indices.equal(expected.indices)


def test_comparisons_within_a_group():
    pair_loss = torch.randn(1, 4, 8)
    ranks = (-by_targets(pair_loss)[0].mean(1)).argsort()
    expected = torch.zeros(4, 6)
    # The best of 2 out of 4.
    expected[ranks] = torch.tensor([3 / 6, 2 / 6, 1 / 6, 0])[:, None] / 6
    rule = {'type': 'hardest', 'max_comparisons': 2, 'draw': 'sample'}
    check_shares(build(global_crops=rule), pair_loss, CROPS, expected.flatten(), WEIGHTS)


def test_dials_of_groups():
    selector = PerGroupSelector(QuantileSelector(0.5), {'type': 'softened', 'temperature': 2})
    assert set(selector.dials) == {'global_crops.quantile', 'local_crops.temperature'}
    selector.set_dial('local_crops.temperature', 0.5)
    assert selector.rules['local_crops'].temperature == 0.5
    for name in ('temperature', 'local_crops.quantile', 'crops.temperature'):
        message = (
            f"PerGroupSelector has no dial '{name}': one of ['global_crops.quantile', "
            "'local_crops.temperature']."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            selector.set_dial(name, 0.5)
    with pytest.raises(ValueError, match=r'quantile=2 must be between 0 and 1'):
        selector.set_dial('global_crops.quantile', 2)


@pytest.mark.parametrize(
    ('rules', 'error', 'message'),
    [
        (
            {'local': 'hardest'}, ValueError,
            r"^selector='per_group' knows no group 'local': expected 'global_crops' or 'local_cro",
        ),
        (
            {'global_crops': 'hardest', 'max_comparisons': 64}, ValueError,
            r"so max_comparisons=64 has no meaning: set it for a group, .*\(type='hardest', max",
        ),
        ({'global_crops': 'hard'}, ValueError, r"^selector\.global_crops='hard' is not known: exp"),
        ({'local_crops': 3}, TypeError, r'selector\.local_crops=3 must be one of \[.easiest'),
        (
            {'local_crops': {'type': 'quantile', 'quantile': 7}}, ValueError,
            r'^quantile=7 must be between 0 and 1',
        ),
    ],
)  # fmt: skip
def test_wrong_rules(rules, error, message):
    with pytest.raises(error, match=message):
        build(**rules)
