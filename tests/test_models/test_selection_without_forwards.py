"""Steps of models that select without forward passes."""

from __future__ import annotations

import re
from copy import deepcopy

import pytest
import torch
from mmpretrain.structures import DataSample

from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import build_selector
from hvs_mm.selection.recorded_values import view_records
from tests.helpers.crops import recorded
from tests.helpers.states import assert_same_state, full_state
from tests.helpers.tiny import GROUP_NORM, build_algorithm, random_views
from tests.helpers.tiny_dino import build_dino, candidate_crops, random_samples

SELECTORS = [
    'lowest_iou',
    'largest_color_difference',
    {'type': 'iou_below', 'threshold': 0.2},
    {'type': 'per_group', 'global_crops': 'lowest_iou'},
]
METHODS = ['SimSiam', 'SimCLR', 'BYOL', 'DINO', 'IBOT']

pytestmark = pytest.mark.usefixtures('no_runner')


def build(name, selector='lowest_iou', batch_size=3, **options):
    """A model, views and data samples with random records."""
    if name in ('DINO', 'IBOT'):
        algorithm, candidates, keep = build_dino(name), (2, 2, 4), (1, 1, 2)
        views = candidate_crops(candidates, batch_size)
        samples = random_samples(batch_size, 4)
    else:
        algorithm, candidates, keep = build_algorithm(name, GROUP_NORM), (4,), (2,)
        views, samples = (
            random_views(batch_size=batch_size),
            [DataSample() for _ in range(batch_size)],
        )
    model = HVSAlgorithm(algorithm, candidates, keep, selector=selector, **options)
    return model, views, recorded(samples, len(views))


def count_forwards(module):
    """A list that gets the batch size of every forward pass of a module."""
    sizes = []
    module.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    return sizes


@pytest.mark.parametrize('selector', SELECTORS)
@pytest.mark.parametrize('name', ['SimSiam', 'DINO'])
def test_selection_takes_no_forward_pass(name, selector):
    model, views, samples = build(name, selector)
    before = full_state(model)
    calls = [count_forwards(module) for module in model.modules() if module is not model]
    selection = model.select_views(views, samples)
    assert not any(calls)
    assert_same_state(before, full_state(model))
    # What the selector says to the records.
    selector, groups = model.selector, selection.groups
    (record,) = view_records(samples, selector.values.record).values()
    expected = selector.values.of_pairs(torch.from_numpy(record), groups.num_targets)
    assert selection.pair_loss.equal(expected)
    if selector.__class__.__name__ in ('LowestIoUSelector', 'LargestColorDifferenceSelector'):
        assert selection.indices.equal(selector(expected, groups).indices)


@pytest.mark.parametrize('name', METHODS)
def test_the_step_is_the_plain_step(name):
    """The same loss, gradients, buffers and forward passes as the baseline's on the kept views."""
    model, views, samples = build(name)
    baseline = deepcopy(model.algorithm)
    selection = model.select_views(views, samples)
    kept, kept_samples = model.gather(views, selection.indices), deepcopy(samples)
    for sample, indices in zip(kept_samples, selection.indices[:, :2].tolist()):
        if name == 'IBOT':
            sample.set_metainfo({'view_masks': sample.view_masks[indices]})
    passes, plain_passes = count_forwards(model.backbone), count_forwards(baseline.backbone)
    losses, expected = model.loss(views, samples), baseline.loss(kept, kept_samples)
    assert passes == plain_passes
    model.parse_losses(losses)[0].backward()
    baseline.parse_losses(expected)[0].backward()
    assert {name: losses[name] for name in expected} == expected
    for ours, theirs in zip(model.parameters(), baseline.parameters()):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or ours.grad.equal(theirs.grad)
    assert_same_state(full_state(model.algorithm), full_state(baseline))


@pytest.mark.slow
def test_a_compiled_step():
    model, views, samples = build('SimSiam')
    expected_model = deepcopy(model)
    compiled = torch.compile(model.loss, backend='eager')
    for _ in range(2):
        ours, expected = compiled(views, samples), expected_model.loss(views, samples)
        torch.testing.assert_close(ours['loss'], expected['loss'])
        assert model.last_selection.indices.equal(expected_model.last_selection.indices)
    torch._dynamo.reset()


def test_log_entries():
    model, views, samples = build('DINO')
    losses = model.loss(views, samples)
    selection = model.last_selection
    assert -1 <= losses['hvs_score_mean'] < losses['hvs_score'] <= 0
    torch.testing.assert_close(losses['hvs_score'], selection.score.mean())
    assert losses['hvs_hardness'] == 1
    assert losses['hvs_nonfinite'] == 0
    assert sum(losses[f'hvs_kept_{pair}'] for pair in ('0-2', '0-3', '1-2', '1-3')) == 1


def test_some_samples():
    model, views, samples = build('IBOT', batch_size=6, schedule={'prob': 0.5})
    torch.manual_seed(0)
    model.loss(views, samples)
    selection = model.last_selection
    assert len(selection.samples) == 3
    everything = model.select_views(views, samples)
    assert selection.indices.equal(everything.indices[selection.samples])
    assert selection.score.equal(everything.score[selection.samples])


@pytest.mark.parametrize('given', ['none', 'bare', 'fewer'])
def test_no_records_of_the_views(given):
    model, views, samples = build('SimSiam')
    samples = {
        'none': None,
        'bare': [DataSample() for _ in samples],
        'fewer': recorded([DataSample() for _ in samples], 3),
    }[given]
    with pytest.raises(ValueError, match=r'the data samples have .* with CandidateViews') as error:
        model.loss(views, samples)
    assert '\n' not in str(error.value)


def test_cheaper_forwards_where_there_are_none():
    message = (
        "selection_pass={'scale': 0.5} makes the forwards of the candidates cheaper, but "
        'LowestIoUSelector takes none: leave selection_pass out.'
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        build('SimSiam', selection_pass={'scale': 0.5})


def test_weights_of_scores():
    """Those of iBOT's losses have no part in the overlap."""
    model, _, _ = build('IBOT')
    assert (model.score_weights.cross, model.score_weights.diagonal) == (1, 0)
    model.selector = build_selector('hardest')
    assert model.score_weights == model.pair_loss.score_weights(model.algorithm)
    assert model.score_weights.diagonal > 0
