"""Selectors that go by crops and colors, against all combinations one by one."""

from __future__ import annotations

import math
import re
from itertools import combinations

import pytest
import torch

from hvs_mm.selection import (
    HardestSelector,
    IoUBelowSelector,
    LargestColorDifferenceSelector,
    LowestIoUSelector,
    ViewGroups,
    build_selector,
)
from hvs_mm.selection.recorded_values import NEGATIVE_IOU
from hvs_mm.selection.selectors.without_forwards import draw_position
from hvs_mm.selection.statistics.color import color_difference
from tests.helpers.crops import iou_by_hand, mean_ious, random_boxes
from tests.helpers.scores import check_shares, combinations_of, numbers_of

PAIRS = ViewGroups([4], [2])
CROPS = ViewGroups([2, 2, 4], [1, 1, 2], 2)


def values_of(boxes, groups):
    return NEGATIVE_IOU.of_pairs(boxes, groups.num_targets)


def select(selector, boxes, groups):
    return selector(values_of(boxes, groups), groups)


@pytest.mark.parametrize(
    'groups', [PAIRS, CROPS, ViewGroups([3, 4], [2, 2]), ViewGroups([3, 3], [1, 2], 2)]
)
def test_lowest_iou(groups):
    boxes = random_boxes(30, groups.num_views)
    ious, selection = mean_ious(boxes, groups), select(LowestIoUSelector(), boxes, groups)
    kept = ious.gather(1, torch.tensor(numbers_of(selection))[:, None])[:, 0]
    torch.testing.assert_close(kept, ious.amin(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(selection.score.double(), -kept, rtol=0, atol=1e-6)
    torch.testing.assert_close(selection.mean_score.double(), -ious.mean(1), rtol=0, atol=1e-6)
    hardness = selection.hardness()
    torch.testing.assert_close(hardness[ious.amax(1) > ious.amin(1)].unique(), torch.ones(1))


def test_crops_that_do_not_touch_are_equal():
    boxes = torch.tensor([[[0.0, 0, 9, 9], [1, 0, 9, 9], [20, 0, 25, 5], [40, 0, 45, 5]]])
    assert select(LowestIoUSelector(), boxes, PAIRS).indices.tolist() == [[0, 2]]


def test_largest_color_difference():
    colors = torch.rand(30, 8, 7)
    selector = LargestColorDifferenceSelector()
    selection = selector(selector.values.of_pairs(colors, 4), CROPS)
    for own, kept in zip(colors, selection.indices.tolist()):

        def mean(views, own=own):
            a, c, *local = views
            pairs = [(a, c), (c, a), *((t, s) for t in (a, c) for s in local)]
            return sum(color_difference(own[t], own[s]).item() for t, s in pairs) / len(pairs)

        assert mean(kept) == pytest.approx(max(map(mean, combinations_of(CROPS))), abs=1e-6)


def test_the_lowest_of_some():
    """They have the dials of the hardest."""
    boxes = random_boxes(1, 4)
    ranks = mean_ious(boxes, PAIRS)[0].argsort()
    expected = torch.zeros(6)
    # The lowest of 2 out of 6.
    expected[ranks] = torch.tensor([5, 4, 3, 2, 1, 0]) / 15
    selector = build_selector({'type': 'lowest_iou', 'max_comparisons': 2, 'draw': 'sample'})
    check_shares(selector, values_of(boxes, PAIRS)[0], PAIRS, expected)


# --- Below a threshold -----------------------------------------------------------------------


def below(ious, share):
    """A threshold with about a share of the IoUs (N,) below it, and their probabilities."""
    ordered = ious.unique()
    number = int(share * len(ordered))
    threshold = (ordered[number - 1] + ordered[number]).item() / 2
    is_below = ious < threshold
    assert 0 < is_below.sum() < len(ious)
    return threshold, is_below / is_below.sum()


@pytest.mark.parametrize('groups', [PAIRS, CROPS])
# Some of those drawn for all images alike come twice: with many images that would show.
@pytest.mark.parametrize(('most', 'draws'), [(2**17, 4000), (1, 400)])
def test_uniform_below_the_threshold(groups, most, draws, monkeypatch):
    monkeypatch.setattr('hvs_mm.selection.selectors.without_forwards.MAX_LISTED', most)
    monkeypatch.setattr('hvs_mm.selection.score_table.MAX_LISTED', most)
    boxes = random_boxes(1, groups.num_views)
    threshold, expected = below(mean_ious(boxes, groups)[0], 0.5)
    values = values_of(boxes, groups)[0]
    check_shares(IoUBelowSelector(threshold), values, groups, expected, draws=draws)


@pytest.mark.parametrize('most', [2**17, 1])
def test_the_lowest_where_none_is_below(most, monkeypatch):
    monkeypatch.setattr('hvs_mm.selection.selectors.without_forwards.MAX_LISTED', most)
    monkeypatch.setattr('hvs_mm.selection.score_table.MAX_LISTED', most)
    boxes = random_boxes(50, 8)
    # Of these crops all pairs overlap.
    boxes[::2, :, :2], boxes[::2, :, 2:] = boxes[::2, :, :2] / 10, 60 + boxes[::2, :, 2:]
    ious = mean_ious(boxes, CROPS)
    threshold = (ious[::2].min().item() + ious[1::2].max().item()) / 2
    assert (ious[::2] > threshold).all()
    selection = select(IoUBelowSelector(threshold), boxes, CROPS)
    lowest = select(LowestIoUSelector(), boxes, CROPS)
    assert selection.indices[::2].equal(lowest.indices[::2])
    assert (selection.score[1::2] > -threshold).all()
    assert not selection.indices[1::2].equal(lowest.indices[1::2])


def test_threshold_as_a_dial():
    boxes = random_boxes(200, 4)
    selector, hardness = IoUBelowSelector(1), []
    for threshold in (1, 0.3, 0.1, 0):
        selector.set_dial('threshold', threshold)
        hardness.append(select(selector, boxes, PAIRS).hardness().nanmean().item())
    assert abs(hardness[0]) < 0.2
    assert hardness == sorted(hardness)
    assert hardness[-1] == 1


def test_nothing_is_drawn_where_there_is_nothing_to_choose():
    boxes, before = random_boxes(3, 4), torch.get_rng_state()
    select(IoUBelowSelector(0.5), boxes, ViewGroups([4], [4]))
    assert torch.get_rng_state().equal(before)


def test_an_iou_that_is_not_finite_is_never_kept():
    """Of a crop without any area."""
    boxes = random_boxes(40, 4)
    boxes[:, 1:3, 2:] = boxes[:, 1:3, :2] = torch.tensor([7.0, 7.0])
    for selector in (LowestIoUSelector(), IoUBelowSelector(1)):
        selection = select(selector, boxes, PAIRS)
        assert selection.score.isfinite().all()
        assert selection.nonfinite.tolist() == pytest.approx([1 / 6] * 40)


def test_positions_are_drawn_uniformly():
    allowed = torch.tensor([[False, True, True, False, True], [False] * 5, [True] * 5])
    drawn = torch.stack([draw_position(allowed) for _ in range(3000)])
    assert drawn[:, 0].unique().tolist() == [1, 2, 4]
    for column, size in ((0, 3), (2, 5)):
        counts = drawn[:, column].bincount(minlength=5)
        counts = counts[allowed[column]]
        assert (counts - 3000 / size).abs().max() < 4 * math.sqrt(3000 / size)
    # Any that exists, where none is allowed.
    assert drawn[:, 1].max() < 5


# --- Per group -------------------------------------------------------------------------------


def per_group(**rules):
    return build_selector({'type': 'per_group', **rules})


def test_lowest_iou_of_global_crops_and_random_local_ones():
    boxes = random_boxes(1, 8)
    selector = per_group(global_crops='lowest_iou')
    assert selector.values is NEGATIVE_IOU
    ious = mean_ious(boxes, CROPS)[0].unflatten(0, (4, 6))
    expected = torch.zeros(4, 6)
    expected[ious.mean(1).argmin()] = 1 / 6
    check_shares(selector, values_of(boxes, CROPS)[0], CROPS, expected.flatten())


def test_a_threshold_for_local_crops():
    """Of the mean over the pairs of the kept local crops with the kept global ones."""
    boxes = random_boxes(1, 8)
    crops, pairs = boxes[0].tolist(), list(combinations(range(4, 8), 2))
    ious = torch.tensor(
        [
            [
                sum(iou_by_hand(crops[t], crops[s]) for t in (a, c) for s in pair) / 4
                for pair in pairs
            ]
            for a, c in CROPS.target_combinations()
        ]
    )
    threshold, _ = below(ious.flatten(), 0.6)
    expected = (ious < threshold).double()
    none = expected.sum(1) == 0
    expected[none, ious.argmin(1)[none]] = 1
    expected = (expected / expected.sum(1, keepdim=True) / 4).flatten()
    rule = {'type': 'iou_below', 'threshold': threshold}
    selector = per_group(local_crops=rule)
    assert set(selector.dials) == {'local_crops.threshold'}
    check_shares(selector, values_of(boxes, CROPS)[0], CROPS, expected)


@pytest.mark.parametrize(
    ('rules', 'message'),
    [
        (
            {'global_crops': 'lowest_iou', 'local_crops': 'hardest'},
            "selector='per_group' would choose global_crops by minus IoU and local_crops by pair "
            "loss: take rules that go by the same, or 'random' for one of the two.",
        ),
        (
            {'global_crops': 'lowest_iou', 'local_crops': 'largest_color_difference'},
            "selector='per_group' would choose global_crops by minus IoU and local_crops by color "
            "difference: take rules that go by the same, or 'random' for one of the two.",
        ),
    ],
)
def test_rules_that_read_different_values(rules, message):
    with pytest.raises(ValueError, match='^' + re.escape(message) + '$'):
        per_group(**rules)


def test_which_selectors_forward_the_candidates():
    for name in ('hardest', 'random', 'softened', 'per_group'):
        assert build_selector(name).values is None
    assert per_group(local_crops='hardest').values is None
    assert per_group(local_crops='lowest_iou').values is NEGATIVE_IOU
    assert isinstance(build_selector('lowest_iou'), HardestSelector)


@pytest.mark.parametrize('value', [-0.1, 1.1, math.nan, '1', None, True])
def test_no_threshold(value):
    message = r'^threshold=.* must be between 0 and 1: 0 keeps the lowest IoU, 1 any\.$'
    with pytest.raises(ValueError, match=message):
        build_selector({'type': 'iou_below', 'threshold': value})
