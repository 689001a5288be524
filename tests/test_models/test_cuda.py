"""What only a GPU can show."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from hvs_mm.models import HVSAlgorithm
from tests.tiny import BATCH_NORM, GROUP_NORM, build_algorithm, build_hvs, random_views

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

METHODS = ['SimSiam', 'SimCLR', 'BYOL']


@pytest.fixture(autouse=True)
def _reproducible_kernels(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def on_gpu(views):
    return [view.cuda() for view in views]


def past_the_first_update(model):
    """BYOL asks once whether its target network has been updated."""
    model.loss(on_gpu(random_views()))
    return model


@pytest.mark.parametrize('name', METHODS)
def test_same_losses_as_on_the_cpu(name):
    model, views = build_hvs(name, GROUP_NORM), random_views()
    expected = model.select_views(views)
    selection = model.cuda().select_views(on_gpu(views))
    torch.testing.assert_close(selection.pair_loss.cpu(), expected.pair_loss, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(selection.score.cpu(), expected.score, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize(
    'selector', ['hardest', 'random', {'type': 'hardest', 'max_comparisons': 3}]
)
def test_a_step_does_not_wait_for_the_device(name, selector):
    model = past_the_first_update(build_hvs(name, selector=selector).cuda())
    views = on_gpu(random_views())
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        selection = model.select_views(views)
        model.gather(views, selection.indices)
        selection.choice_shares()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('name', METHODS)
def test_gradients_under_fp16_autocast_are_those_of_the_kept_views(name):
    model = build_hvs(name, GROUP_NORM).cuda()
    twin = deepcopy(model.algorithm)
    views = on_gpu(random_views())
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        losses = model.loss(views)
    losses['loss'].backward()
    assert model.last_selection.pair_loss.dtype == torch.float32
    kept = model.gather(views, model.last_selection.indices)
    with wrapper.optim_context(twin):
        twin.loss(kept, None)['loss'].backward()
    compared = 0
    for key, parameter in twin.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(model.get_parameter(key).grad, parameter.grad, msg=key)
            compared += parameter.grad is not None
    assert compared > 10


@pytest.mark.parametrize('name', METHODS)
def test_keeping_all_candidates_is_the_baseline(name):
    """The random state of the GPU is left alone, too: dropped paths are the baseline's."""
    baseline = build_algorithm(name, BATCH_NORM, drop_path_rate=0.3).cuda()
    model = HVSAlgorithm(deepcopy(baseline), [2], [2])
    results = []
    for candidate in (baseline, model):
        torch.manual_seed(3)
        wrapper = OptimWrapper(torch.optim.SGD(candidate.parameters(), lr=0.1, momentum=0.9))
        losses = [
            candidate.train_step({'inputs': random_views(2), 'data_samples': None}, wrapper)['loss']
            for _ in range(5)
        ]
        results.append((losses, candidate.state_dict()))
    for ours, theirs in zip(results[1][0], results[0][0]):
        assert torch.equal(ours, theirs)
    for key, value in results[0][1].items():
        assert torch.equal(results[1][1][key], value), key


def test_pixels_that_are_not_finite_are_reported_one_step_later():
    model, bad = build_hvs('SimSiam').cuda(), on_gpu(random_views())
    bad[2][1, 0, 5, 5] = math.nan
    model.loss(bad)
    with pytest.raises(ValueError, match='view 2 of sample 1 of the batch before this one'):
        model.loss(on_gpu(random_views()))
    model.loss(on_gpu(random_views()))
