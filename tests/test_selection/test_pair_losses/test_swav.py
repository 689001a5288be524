"""SwAV against upstream's own ``loss``, with two sizes of views and with queues."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations, product

import pytest
import torch
from mmpretrain.registry import MODELS

from hvs_mm.losses import swav_pair_loss
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import build_pair_loss
from tests.helpers.brute_force import score_by_hand
from tests.helpers.states import assert_same_state, full_state
from tests.helpers.tiny import GROUP_NORM, algorithm_config, random_views


def swav_config(num_crops=(2, 2), **loss):
    config = algorithm_config('SwAV', GROUP_NORM)
    config['head']['loss'].update(num_crops=list(num_crops), **loss)
    return config


def multi_crop(num_global, num_local, batch_size=4):
    return random_views(num_global, batch_size) + random_views(num_local, batch_size, size=16)


def fill_queue(algorithm, rows=8):
    """Normalized embeddings, as upstream's hook has them once they are full."""
    algorithm.head.loss_module.queue = torch.nn.functional.normalize(
        torch.randn(2, rows, 16), dim=-1
    )


@torch.no_grad()
@pytest.mark.parametrize('queue', ['none', 'full', 'not yet full'])
def test_swav_against_upstream(queue):
    """The mean score of a combination is upstream's loss, if the whole batch keeps it."""
    algorithm = MODELS.build(swav_config())
    if queue != 'none':
        fill_queue(algorithm)
    if queue == 'not yet full':
        algorithm.head.loss_module.queue[:, -1] = 0
    # Three views for either place of the two, whose queues differ, only without queues.
    num_targets = 3 if queue != 'full' else 2
    views = multi_crop(num_targets, 3)
    pair_loss = build_pair_loss(None, algorithm)(algorithm, views, num_targets)
    assert pair_loss.shape == (4, num_targets, num_targets + 3)
    for targets, local in product(
        combinations(range(num_targets), 2), combinations(range(num_targets, num_targets + 3), 2)
    ):
        kept = (*targets, *local)
        # It normalizes its prototypes and moves its queue.
        expected = deepcopy(algorithm).loss([views[view] for view in kept], None)['loss']
        scores = [score_by_hand(one, kept, num_targets) for one in pair_loss.tolist()]
        assert sum(scores) / 4 == pytest.approx(expected.item(), abs=1e-5)


def test_the_later_candidates_read_the_later_queue():
    algorithm = MODELS.build(swav_config())
    fill_queue(algorithm)
    views = multi_crop(4, 2)
    pair_loss = build_pair_loss(None, algorithm)
    before = pair_loss(algorithm, views, 4)
    algorithm.head.loss_module.queue[1] = -algorithm.head.loss_module.queue[1]
    after = pair_loss(algorithm, views, 4)
    assert torch.equal(after[:, :2], before[:, :2])
    assert not torch.isclose(after[:, 2:], before[:, 2:]).any(0).all()


def test_selection_changes_neither_prototypes_nor_queue():
    model = HVSAlgorithm(swav_config(), [4, 2], [2, 2])
    fill_queue(model.algorithm)
    queue, state = model.head.loss_module.queue.clone(), full_state(model)
    model.select_views(multi_crop(4, 2))
    assert torch.equal(model.head.loss_module.queue, queue)
    assert not model.head.loss_module.use_queue
    assert_same_state(state, full_state(model))


def test_multi_crop_scores_are_those_of_the_kept_views():
    model = HVSAlgorithm(swav_config(), [4, 3], [2, 2])
    selection = model.select_views(multi_crop(4, 3))
    assert selection.groups.num_combinations() == 18
    for sample, kept in enumerate(selection.indices.tolist()):
        scores = [
            score_by_hand(selection.pair_loss[sample].tolist(), (*targets, *local), 4)
            for targets in combinations(range(4), 2)
            for local in combinations(range(4, 7), 2)
        ]
        mine = score_by_hand(selection.pair_loss[sample].tolist(), tuple(kept), 4)
        assert mine == pytest.approx(max(scores), abs=1e-5)


@torch.no_grad()
def test_keeping_all_crops_is_the_baseline():
    baseline = MODELS.build(swav_config())
    model = HVSAlgorithm(deepcopy(baseline), [2, 2], [2, 2])
    views = multi_crop(2, 2)
    assert torch.equal(model.loss(views)['loss'], baseline.loss(views, None)['loss'])
    assert_same_state(full_state(baseline), full_state(model))


def test_swav_formula():
    scores, assignments = torch.randn(3, 5, 7), torch.rand(3, 2, 7).softmax(-1)
    pair_loss = swav_pair_loss(scores, assignments, 0.1)
    for b, t, s in product(range(3), range(2), range(5)):
        logits = (scores[b, s].double() / 0.1).log_softmax(0)
        expected = -(assignments[b, t].double() * logits).sum().item()
        assert pair_loss[b, t, s].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ('loss', 'keep', 'message'),
    [
        ({}, [2, 3], r'keep=\[2, 3\] keeps 5 views, but the head is for num_crops=\[2, 2\]'),
        ({'crops_for_assign': [0, 3]}, [2, 2], r'crops_for_assign=\[0, 3\] must be the kept views'),
        ({'crops_for_assign': [0]}, [2, 2], r'crops_for_assign=\[0\] must be .*: \[0, \.\.\., 1\]'),
    ],
)
def test_settings_that_do_not_fit(loss, keep, message):
    with pytest.raises(ValueError, match=message):
        HVSAlgorithm(swav_config(**loss), [4, 4], keep)
