from __future__ import annotations

import re

import pytest
import torch

from hvs_mm.selection import ViewGroups, build_selector
from tests.helpers.brute_force import admissible_by_hand

GROUPS = [
    ([4], [2], 1),
    ([2, 2], [1, 1], 2),
    ([2, 2, 6], [1, 1, 3], 2),
    ([3, 4], [2, 2], 1),
    ([2, 2], [2, 2], 2),
]


@pytest.mark.parametrize(('candidates', 'keep', 'targets'), GROUPS)
def test_the_number_of_combinations(candidates, keep, targets):
    groups = ViewGroups(candidates, keep, targets)
    assert groups.num_combinations() == len(admissible_by_hand(candidates, keep))


@pytest.mark.parametrize(('candidates', 'keep', 'targets'), GROUPS)
def test_target_combinations(candidates, keep, targets):
    groups = ViewGroups(candidates, keep, targets)
    assert groups.target_combinations() == admissible_by_hand(candidates[:targets], keep[:targets])
    assert groups.num_targets == sum(candidates[:targets])
    assert groups.num_kept_targets == sum(keep[:targets])


def test_dino_counts():
    groups = ViewGroups([2, 2, 16], [1, 1, 8], 2)
    assert (groups.num_views, groups.num_kept, groups.num_targets) == (20, 10, 4)
    assert groups.num_combinations() == 4 * 12870
    assert groups.spans() == [range(2), range(2, 4), range(4, 20)]


@pytest.mark.parametrize(
    ('candidates', 'keep', 'message'),
    [
        ([4], [5], r'keep=\[5\] keeps 5 views of group 0, which has only 4'),
        ([4, 2], [2], 'must have the same length'),
        ([4], [0], r'keep=\[0\] must hold positive integers, got 0'),
        ([], [], 'candidates=.* is empty'),
        ([4.0], [2], 'positive integers, got 4.0'),
        ([True], [1], 'positive integers, got True'),
        ([4], [1], 'keeps a single view'),
    ],
)
def test_wrong_counts(candidates, keep, message):
    with pytest.raises(ValueError, match=message):
        ViewGroups(candidates, keep)


@pytest.mark.parametrize('value', [4, '4', None])
def test_wrong_types(value):
    with pytest.raises(TypeError, match=r'candidates=.* must be a list of integers'):
        ViewGroups(value, [2])


@pytest.mark.parametrize('count', [0, 3])
def test_wrong_number_of_target_groups(count):
    with pytest.raises(ValueError, match=f'num_target_groups={count}'):
        ViewGroups([2, 2], [1, 1], count)


@pytest.mark.parametrize(
    ('candidates', 'keep', 'number'),
    [([40], [20], '137,846,528,820'), ([20], [10], '184,756'), ([10**6], [10**5], 'about 10^1411')],
)
def test_more_target_choices_than_memory(candidates, keep, number):
    with pytest.raises(ValueError, match=f'have {re.escape(number)}.* at most 131,072 can be'):
        ViewGroups(candidates, keep)
    # Not as local views, whose combinations are not listed.
    assert ViewGroups([2, *candidates], [1, *keep]).num_targets == 2


def test_local_groups_of_any_size_are_exact():
    """More than 2**63 combinations: the best local views are those with the highest losses."""
    groups = ViewGroups([2, 80], [1, 40])
    assert groups.num_combinations() > 2**63
    loss = torch.rand(3, 2, 82, dtype=torch.float64)
    local, order = loss[:, :, 2:].sort(dim=2, descending=True)
    scores = local[:, :, :40].mean(2)
    target = scores.argmax(1)
    selection = build_selector('hardest')(loss, groups)
    torch.testing.assert_close(selection.score, scores.max(1).values)
    best = order[torch.arange(3), target, :40].sort(1).values + 2
    assert torch.equal(selection.indices, torch.cat([target[:, None], best], 1))
    torch.testing.assert_close(selection.mean_score, loss[:, :, 2:].mean((1, 2)))
