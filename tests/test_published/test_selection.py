"""Kept views and scores of the published selections."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from hvs_mm.losses.ibot import IBOTOutputs
from hvs_mm.losses.ntxent import ntxent_pair_loss
from hvs_mm.losses.simsiam import simsiam_pair_loss
from hvs_mm.selection import HardestSelector, ViewGroups
from hvs_mm.selection.pair_losses.ibot import IBOTPairLoss
from hvs_mm.selection.score_table import ScoreTable
from hvs_mm.selection.selectors import combination_scores
from tests.helpers.published_numbers import (
    EXACT,
    by_sample,
    dino_head,
    ibot_head,
    load_numbers,
    patch_logits,
)

#: Arrays of ibot_selection whose first dimension are views.
OF_VIEWS = ('student_cls', 'teacher_cls', 'student_patch', 'teacher_patch', 'masks')


def grouped(num_global, num_views):
    """The published positions in the order of our groups: even global ones, odd ones, locals."""
    return [*range(0, num_global, 2), *range(1, num_global, 2), *range(num_global, num_views)]


def check(selection, order, numbers, num_terms):
    """Kept views at their published positions, and the score, a sum over ``num_terms`` pairs."""
    kept = torch.tensor(order)[selection.indices]
    assert kept.T.tolist() == numbers['kept'].tolist()
    assert_close(selection.score * num_terms, numbers['score'], **EXACT)


def dino_pair_losses(numbers, order):
    head = dino_head(numbers, numbers['center'])
    teacher = numbers['teacher'][order[: len(numbers['teacher'])]]
    return head.pair_loss(by_sample(numbers['student'][order]), by_sample(teacher))


def test_dino_all_combinations():
    numbers, order = load_numbers('dino_selection', 'full/'), grouped(4, 10)
    groups = ViewGroups([2, 2, 6], [1, 1, 3], num_target_groups=2)
    assert groups.num_combinations() == numbers['all_combinations'] == len(numbers['combinations'])
    pair_loss = dino_pair_losses(numbers, order)
    ours = ScoreTable.of(pair_loss[:1], groups).numbered(torch.arange(80)[None]).views(groups)[0]
    assert set(map(tuple, ours.tolist())) == {
        tuple(order.index(view) for view in views) for views in numbers['combinations'].tolist()
    }
    selection = HardestSelector()(pair_loss, groups)
    check(selection, order, numbers, num_terms=2 * 4)


def test_dino_64_combinations():
    """Of the combinations that the published code drew the same one has the highest score."""
    numbers, order = load_numbers('dino_selection', 'limit/'), grouped(4, 20)
    groups = ViewGroups([2, 2, 16], [1, 1, 8], num_target_groups=2)
    assert groups.num_combinations() == numbers['all_combinations']
    pair_loss = dino_pair_losses(numbers, order)
    drawn = [[order.index(view) for view in views] for views in numbers['combinations'].tolist()]
    best = combination_scores(pair_loss, drawn, groups).max(1)
    kept = torch.tensor(order)[torch.tensor(drawn)[best.indices]]
    assert kept.T.tolist() == numbers['kept'].tolist()
    assert_close(best.values * 2 * 9, numbers['score'], **EXACT)
    # The hardest of all is harder, for every sample.
    assert (HardestSelector()(pair_loss, groups).score > best.values).all()


@pytest.mark.parametrize('case', ['a/', 'b/'])
def test_ibot(case):
    numbers, order = load_numbers('ibot_selection', case), grouped(4, 4)
    groups = ViewGroups([2, 2], [1, 1], num_target_groups=2)
    ours = {**numbers, **{key: numbers[key][order] for key in OF_VIEWS}}
    masks = by_sample(ours['masks'])
    head = ibot_head(ours, ours['center'], ours['center2'], num_crops=2)
    _, student_patches, teacher_patches, rows = patch_logits(ours, masks)
    pair_loss = head.pair_loss(
        IBOTOutputs(
            student=by_sample(ours['student_cls']),
            teacher=by_sample(ours['teacher_cls']),
            student_patches=student_patches,
            teacher_patches=teacher_patches,
            rows=rows,
        )
    )
    weights = IBOTPairLoss().score_weights(SimpleNamespace(head=head))
    # The published score is a mean here, too.
    check(HardestSelector()(pair_loss, groups, weights), order, numbers, num_terms=1)


def test_simsiam():
    numbers = load_numbers('simsiam_selection')
    pair_loss = simsiam_pair_loss(by_sample(numbers['p']), by_sample(numbers['z']))
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    assert selection.indices.T.tolist() == numbers['selected'].tolist()
    # Published is the mean similarity.
    assert_close(-selection.score, numbers['score'], **EXACT)


def test_simclr():
    numbers = load_numbers('simclr_selection')
    embedding = by_sample(numbers['z'])
    pair_loss = ntxent_pair_loss(embedding, 4, numbers['temperature'].item())
    selection = HardestSelector()(pair_loss, ViewGroups([4], [2]))
    assert selection.indices.T.tolist() == numbers['selected'].tolist()
    assert_close(2 * selection.score, numbers['score'], **EXACT)
