from __future__ import annotations

import pytest

from hvs_mm.selection import ViewGroups
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
