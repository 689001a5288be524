from __future__ import annotations

from itertools import combinations
from math import log

import pytest
import torch

from hvs_mm.selection import COLOR_CHANGES, HardestSelector, ViewGroups, image_statistics
from hvs_mm.selection.statistics.choice import (
    choice_entropy,
    compare_choice,
    mean_over_pairs,
    mean_over_views,
    pairs_within,
)
from hvs_mm.selection.statistics.color import (
    UNCHANGED_COLORS,
    color_deviation,
    color_difference,
    color_strength,
)
from hvs_mm.selection.statistics.geometry import pair_ious


def test_compare_choice_by_hand():
    values = torch.tensor([[0.1, 0.4, 0.4, 0.7], [0.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    low = compare_choice(values, torch.tensor([1, 2, 0]))
    assert low.kept.tolist() == pytest.approx([0.4, 0.0, 0.5])
    assert low.all.tolist() == pytest.approx([0.4, 0.25, 0.5])
    assert low.is_extreme.tolist() == [0, 1, 1]
    assert low.chance.tolist() == [0.25, 0.75, 1]
    high = compare_choice(values, torch.tensor([3, 2, 0]), highest=True)
    assert high.is_extreme.tolist() == [1, 0, 1]
    assert high.chance.tolist() == [0.25, 0.25, 1]


def test_pairs_and_means_by_hand():
    choices = [(0, 1), (0, 2), (1, 2)]
    pairs = pairs_within(choices)
    assert pairs == choices
    assert mean_over_pairs(torch.tensor([[1.0, 2, 3]]), pairs, choices).tolist() == [[1, 2, 3]]
    # Three kept of four: each combination has three pairs.
    choices = list(combinations(range(4), 3))
    pairs = pairs_within(choices)
    assert pairs == list(combinations(range(4), 2))
    values = torch.tensor([[1.0, 2, 4, 8, 16, 32]])
    # (0, 1, 2): pairs 01, 02, 12
    assert mean_over_pairs(values, pairs, choices)[0].tolist() == pytest.approx(
        [(1 + 2 + 8) / 3, (1 + 4 + 16) / 3, (2 + 4 + 32) / 3, (8 + 16 + 32) / 3]
    )
    views = torch.tensor([[1.0, 2, 4, 8]])
    assert mean_over_views(views, choices)[0].tolist() == pytest.approx(
        [7 / 3, 11 / 3, 13 / 3, 14 / 3]
    )
    # Two target groups: views of the same group never stand together.
    assert pairs_within(ViewGroups([2, 2], [1, 1], 2).target_combinations()) == [
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
    ]


def test_entropy_by_hand():
    assert choice_entropy(torch.tensor([5, 5, 5])) == pytest.approx(1)
    assert choice_entropy(torch.tensor([0, 9, 0])) == 0
    assert choice_entropy(torch.tensor([4])) == 0
    expected = (0.25 * log(4) + 0.75 * log(4 / 3)) / log(2)
    assert choice_entropy(torch.tensor([1, 3])) == pytest.approx(expected)


def test_color_strength_by_hand():
    assert COLOR_CHANGES == (
        'brightness', 'contrast', 'saturation', 'hue', 'blur', 'grayscale', 'solarize',
    )  # fmt: skip
    colors = torch.tensor([[*UNCHANGED_COLORS.values()], [1.3, 0.6, 1, -0.1, 2.0, 1.0, 1.0]])
    assert color_deviation(colors).tolist() == [
        [0] * 7,
        pytest.approx([0.3, 0.4, 0, 0.1, 2, 1, 1]),
    ]
    assert color_strength(colors).tolist() == pytest.approx([0, 0.26**0.5])


def random_views(batch_size, num_views):
    corner = torch.rand(batch_size, num_views, 2) * 50
    return {
        'boxes': torch.cat([corner, corner + 1 + torch.rand(batch_size, num_views, 2) * 50], dim=2),
        'flips': torch.rand(batch_size, num_views, 2) < 0.5,
        'colors': torch.rand(batch_size, num_views, 7),
    }


@pytest.mark.parametrize(
    ('candidates', 'keep', 'num_target_groups'),
    [([4], [2], 1), ([5], [3], 1), ([2, 2, 6], [1, 1, 3], 2), ([3, 4], [2, 2], 1)],
)
def test_against_loops_over_images(candidates, keep, num_target_groups):
    groups = ViewGroups(candidates, keep, num_target_groups)
    pair_loss = torch.rand(7, groups.num_targets, groups.num_views)
    selection = HardestSelector()(pair_loss, groups)
    views = random_views(7, groups.num_views)
    masked = torch.rand(7, groups.num_targets)
    found = image_statistics(selection, **views, masked=masked)
    choices = groups.target_combinations()
    everything = list(combinations(range(groups.num_views), 2))
    strength = color_strength(views['colors'])
    for sample in range(7):
        iou = dict(zip(everything, pair_ious(views['boxes'], everything)[sample].tolist()))
        kept = selection.indices[sample].tolist()
        targets, smaller = kept[: groups.num_kept_targets], kept[groups.num_kept_targets :]

        def mean_iou(chosen, iou=iou):
            pairs = list(combinations(chosen, 2))
            return sum(iou[pair] for pair in pairs) / len(pairs)

        def value(name, sample=sample):
            return found[name][sample].item()

        of_all = [mean_iou(chosen) for chosen in choices]
        assert value('iou_kept') == pytest.approx(mean_iou(targets), abs=1e-6)
        assert value('iou_all') == pytest.approx(sum(of_all) / len(of_all), abs=1e-6)
        assert value('iou_gap') == pytest.approx(value('iou_kept') - value('iou_all'), abs=1e-6)
        assert value('lowest_iou') == (mean_iou(targets) <= min(of_all) + 1e-6)
        assert value('lowest_iou_chance') == pytest.approx(
            sum(v <= min(of_all) + 1e-6 for v in of_all) / len(of_all)
        )
        colors = [
            sum(strength[sample, v].item() for v in chosen) / len(chosen) for chosen in choices
        ]
        own = sum(strength[sample, v].item() for v in targets) / len(targets)
        assert value('color_kept') == pytest.approx(own, abs=1e-5)
        assert value('color_all') == pytest.approx(sum(colors) / len(colors), abs=1e-5)
        assert value('strongest_color') == (own >= max(colors) - 1e-5)

        def mean_difference(chosen, sample=sample):
            pairs, colors = list(combinations(chosen, 2)), views['colors'][sample]
            return sum(color_difference(colors[a], colors[b]).item() for a, b in pairs) / len(pairs)

        differences = [mean_difference(chosen) for chosen in choices]
        assert value('color_difference_kept') == pytest.approx(mean_difference(targets), abs=1e-6)
        expected = sum(differences) / len(differences)
        assert value('color_difference_all') == pytest.approx(expected, abs=1e-6)
        blur = views['colors'][sample, :, 4]
        assert value('blur_kept') == pytest.approx(blur[targets].mean().item(), abs=1e-6)
        shares = masked[sample].tolist()
        assert value('masked_kept') == pytest.approx(masked[sample, targets].mean().item())
        of_all = [sum(shares[view] for view in chosen) / len(chosen) for chosen in choices]
        assert value('masked_all') == pytest.approx(sum(of_all) / len(of_all))
        for view in range(groups.num_views):
            assert value(f'kept_view_{view}') == (view in kept)
        assert value('score_gap') == pytest.approx(
            (selection.score - selection.mean_score)[sample].item()
        )
        assert value('hardness') == selection.hardness()[sample].item()
        assert ('local_iou_kept' in found) == bool(smaller)
        if smaller:
            pairs = [(t, s) for t in targets for s in smaller]
            assert value('local_iou_kept') == pytest.approx(
                sum(iou[pair] for pair in pairs) / len(pairs), abs=1e-6
            )
            pairs = [
                (t, s)
                for t in range(groups.num_targets)
                for s in range(groups.num_targets, groups.num_views)
            ]
            assert value('local_iou_all') == pytest.approx(
                sum(iou[pair] for pair in pairs) / len(pairs), abs=1e-6
            )


def test_scores_that_are_not_finite():
    pair_loss = torch.rand(3, 4, 4)
    pair_loss[1] = float('nan')
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    gap = image_statistics(selection, torch.rand(3, 4, 4).cumsum(2) + 1)['score_gap']
    assert gap.isnan().tolist() == [False, True, False]


def test_tenths_of_the_iou_by_hand():
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 3.5], [20, 20, 30, 30]]])
    pair_loss = torch.zeros(1, 4, 4)
    pair_loss[0, 0, 1] = 1
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    found = image_statistics(selection, boxes)
    # Pairs 01: 1, 02 and 12: 0.35, and three that do not touch.
    shares = [found[f'iou_all_bin_{number}'].item() for number in range(10)]
    assert shares == pytest.approx([1 / 2, 0, 0, 1 / 3, 0, 0, 0, 0, 0, 1 / 6])
    assert [found[f'iou_kept_bin_{number}'].item() for number in range(10)] == [0] * 9 + [1]


def test_a_single_target_has_no_pair():
    selection = HardestSelector()(torch.rand(3, 2, 6), ViewGroups([2, 4], [1, 2]))
    colors = torch.rand(3, 6, 7)
    found = image_statistics(selection, torch.rand(3, 6, 4).cumsum(2) + 1, colors=colors)
    assert 'iou_kept' not in found
    assert 'masked_kept' not in found
    assert 'color_difference_kept' not in found
    assert found['local_iou_kept'].shape == (3,)
