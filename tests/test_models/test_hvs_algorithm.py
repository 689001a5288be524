from __future__ import annotations

import math
import pickle
from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS, OPTIM_WRAPPERS
from torch import nn

from hvs_mm.engine import AutocastOptimWrapper
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import PairLoss
from tests.helpers.states import assert_same_state, full_state
from tests.helpers.tiny import (
    BATCH_NORM,
    GROUP_NORM,
    METHODS,
    MOMENTUM,
    algorithm_config,
    build_algorithm,
    build_hvs,
    move_momentum,
    random_views,
)


def optim_wrapper(model, cls=OptimWrapper, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return cls(optimizer, **kwargs)


def batch(views, **extra):
    return {'inputs': views, 'data_samples': None, **extra}


# --- Selection -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_selection_changes_no_state(name):
    model = build_hvs(name)
    # Mixed modes, as with frozen stages, must stay mixed.
    model.backbone.layer1.eval()
    if name in MOMENTUM:
        move_momentum(model.algorithm)
    views = random_views()
    before = full_state(model)
    modes = {key: module.training for key, module in model.named_modules()}
    random_state = torch.get_rng_state()
    model.select_views(views)
    assert_same_state(before, full_state(model))
    assert modes == {key: module.training for key, module in model.named_modules()}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL'])
@pytest.mark.parametrize(('selector', 'sign'), [('hardest', 1), ('easiest', -1)])
def test_the_pair_with_the_extreme_upstream_loss_is_kept(name, selector, sign):
    """Per sample, by calling upstream's own loss on every pair of views."""
    model = build_hvs(name, GROUP_NORM, selector=selector)
    if name == 'BYOL':
        model.algorithm.loss(random_views(2), None)
        model.target_net.momentum = model.target_net.end_momentum = 0
    views = random_views()
    selection = model.select_views(views)
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    with torch.no_grad():
        if name == 'SimCLR':
            model.head.loss_module.reduction = 'none'
            losses = torch.stack(
                [
                    model.algorithm.loss([views[a], views[b]], None)['loss'].reshape(-1, 2).mean(1)
                    for a, b in pairs
                ],
                dim=1,
            )
        else:
            losses = torch.tensor(
                [
                    [
                        model.algorithm.loss([views[a][b : b + 1], views[c][b : b + 1]], None)[
                            'loss'
                        ]
                        for a, c in pairs
                    ]
                    for b in range(3)
                ]
            )
    best = (sign * losses).argmax(1)
    assert selection.indices.tolist() == [list(pairs[i]) for i in best]
    assert selection.indices.dtype == torch.int64
    assert selection.score.dtype == selection.pair_loss.dtype == torch.float32
    assert selection.pair_loss.shape == (3, 4, 4)


def test_gather_takes_each_samples_own_views():
    model = build_hvs('SimSiam', candidates=[3, 2], keep=[1, 1])
    # Every pixel says where it comes from: 10 * view + sample.
    views = [
        torch.full((4, 3, 8, 8), 10.0 * view) + torch.arange(4.0).reshape(4, 1, 1, 1)
        for view in range(5)
    ]
    indices = torch.tensor([[0, 3], [2, 4], [1, 3], [2, 3]])
    kept = model.gather(views, indices)
    assert [view.shape for view in kept] == [(4, 3, 8, 8)] * 2
    for sample in range(4):
        for slot in range(2):
            expected = 10 * indices[sample, slot] + sample
            assert (kept[slot][sample] == expected).all()


@pytest.mark.parametrize('name', ['SimSiam', 'BYOL'])
def test_every_view_of_a_symmetric_loss_is_a_target(name):
    """Also if its size differs: the score stays the training loss."""
    model = build_hvs(name, GROUP_NORM, candidates=[2, 3], keep=[1, 1])
    views = random_views(2, size=32) + random_views(3, size=48)
    selection = model.select_views(views)
    assert selection.pair_loss.shape == (3, 5, 5)
    kept = model.gather(views, selection.indices)
    assert [view.shape[-1] for view in kept] == [32, 48]
    losses = model.loss(views)
    expected = 2 + losses['loss'] / 2 if name == 'BYOL' else losses['loss']
    torch.testing.assert_close(losses['hvs_score'], expected.detach())


class OneSided(PairLoss):
    """Any tensor for any number of views."""

    def forward(self, algorithm, views, num_targets):
        return len(views[0]), num_targets, len(views)

    def form(self, algorithm, outputs):
        return torch.rand(outputs)


def test_views_of_another_size_are_no_targets():
    model = build_hvs('SimSiam', candidates=[2, 3], keep=[1, 1], pair_loss=OneSided())
    selection = model.select_views(random_views(2, size=32) + random_views(3, size=16))
    assert selection.pair_loss.shape == (3, 2, 5)
    assert selection.groups.num_target_groups == 1


def test_target_groups_can_be_named():
    settings = {'candidates': [2, 2], 'keep': [1, 1], 'target_groups': [0]}
    model = build_hvs('SimSiam', pair_loss=OneSided(), **settings)
    assert model.select_views(random_views()).pair_loss.shape == (3, 2, 4)
    with pytest.raises(ValueError, match='every view that SimSiam trains on is a target'):
        build_hvs('SimSiam', **settings)


def test_training_uses_the_selected_views():
    model, views = build_hvs('SimSiam', GROUP_NORM), random_views()
    selection = model.select_views(views)
    expected = model.algorithm.loss(model.gather(views, selection.indices), None)['loss']
    losses = model.loss(views)
    torch.testing.assert_close(losses['loss'], expected)
    # With a norm independent of the batch the score is the training loss itself.
    torch.testing.assert_close(losses['hvs_score'], expected.detach())
    assert model.last_selection.indices.equal(selection.indices)


# --- Log entries -----------------------------------------------------------------------------


def test_log_entries():
    model, views = build_hvs('SimSiam', GROUP_NORM), random_views(batch_size=8)
    selection = model.select_views(views)
    _, log = model.parse_losses(model.loss(views))
    assert log['hvs_score'].item() == pytest.approx(selection.score.mean().item())
    symmetric = (selection.pair_loss + selection.pair_loss.transpose(1, 2)) / 2
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    expected = symmetric[:, off_diagonal].mean().item()
    assert log['hvs_score_mean'].item() == pytest.approx(expected, abs=1e-6)
    assert log['hvs_nonfinite'].item() == 0
    assert log['hvs_hardness'].item() == 1
    shares = {key: value.item() for key, value in log.items() if 'kept' in key}
    assert list(shares) == [f'hvs_kept_{a}-{b}' for a in range(4) for b in range(a + 1, 4)]
    assert sum(shares.values()) == pytest.approx(1)
    pairs = [f'hvs_kept_{a}-{b}' for a, b in selection.indices.tolist()]
    assert shares == pytest.approx({key: pairs.count(key) / 8 for key in shares})


def test_log_entries_do_not_enter_the_loss():
    model, views = build_hvs('SimSiam', GROUP_NORM), random_views()
    losses = model.loss(views)
    total, log = model.parse_losses(losses)
    assert torch.equal(total, losses['loss'])
    assert all(not log[key].requires_grad for key in log if key.startswith('hvs'))


# --- The wrapper is the algorithm ------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_checkpoints_go_both_ways(name):
    baseline, model = build_algorithm(name), build_hvs(name)
    assert list(model.state_dict()) == list(baseline.state_dict())
    assert [key for key, _ in model.named_parameters()] == [
        key for key, _ in baseline.named_parameters()
    ]
    model.load_state_dict(baseline.state_dict())
    assert_same_state(baseline.state_dict(), model.state_dict())
    trained = build_hvs(name)
    baseline.load_state_dict(trained.state_dict())
    assert_same_state(trained.state_dict(), baseline.state_dict())
    # The algorithm inside has the loaded weights, too: one set of them, not two.
    assert model.algorithm.backbone is model.backbone
    assert all(a is b for a, b in zip(model.parameters(), model.algorithm.parameters()))


def test_attributes_of_the_algorithm():
    model = build_hvs('BYOL')
    for attribute in ('backbone', 'neck', 'head', 'target_net', 'data_preprocessor'):
        assert getattr(model, attribute) is getattr(model.algorithm, attribute)
    assert model.with_neck
    with pytest.raises(AttributeError, match='nonsense'):
        _ = model.nonsense
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(images), model.algorithm(images, mode='tensor'))


def test_attributes_set_on_the_wrapper_reach_the_algorithm():
    """As upstream's hooks do that change a weight of the loss over the run."""
    model = build_hvs('SimSiam')
    model.algorithm.loss_lambda = 0.5
    model.loss_lambda = 1.0
    assert model.algorithm.loss_lambda == 1.0


def test_state_dict_hooks_and_unsaved_buffers_of_the_algorithm_are_kept():
    algorithm = build_algorithm('SimSiam')
    algorithm.register_buffer('scratch', torch.zeros(3), persistent=False)
    called = []
    algorithm._register_state_dict_hook(lambda *args: called.append('saved'))
    algorithm.register_load_state_dict_post_hook(lambda *args: called.append('loaded'))
    algorithm._register_load_state_dict_pre_hook(lambda *args: called.append('loading'))
    model = HVSAlgorithm(algorithm, [4], [2])
    state = model.state_dict()
    assert 'scratch' not in state
    model.load_state_dict(state)
    assert called == ['saved', 'loading', 'loaded']


def test_an_algorithm_in_eval_mode_stays_so():
    assert not HVSAlgorithm(build_algorithm('SimSiam').eval(), [4], [2]).training


def test_a_pair_loss_that_is_a_module_is_not_saved():
    class Module(OneSided, nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

    model = build_hvs('SimSiam', pair_loss=Module())
    assert list(model.state_dict()) == list(build_algorithm('SimSiam').state_dict())


def test_averaged_copies_of_the_model():
    """What MMEngine's EMAHook makes of it."""
    model = build_hvs('SimSiam')
    averaged = ExponentialMovingAverage(model, momentum=0.5)
    before = model.backbone.conv1.weight.clone()
    averaged.update_parameters(model)
    with torch.no_grad():
        model.backbone.conv1.weight += 1
    averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.backbone.conv1.weight, before + 0.5)


def test_modes_and_devices_reach_the_algorithm():
    model = build_hvs('SimSiam')
    assert model.eval() is model
    assert not any(m.training for m in (model, model.algorithm, model.backbone, model.head))
    model.train()
    assert all(m.training for m in (model, model.algorithm, model.backbone, model.head))
    model.double()
    assert model.algorithm.backbone.conv1.weight.dtype == torch.float64
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.algorithm.parameters())


def test_copies_share_nothing_with_the_original():
    model = build_hvs('SimSiam')
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copy.algorithm is not model.algorithm
        assert copy.algorithm.backbone is copy.backbone
        before = full_state(model)
        with torch.no_grad():
            copy.backbone.conv1.weight += 1
        assert_same_state(before, full_state(model))
        assert copy.algorithm.backbone.conv1.weight.equal(
            copy.state_dict()['backbone.conv1.weight']
        )


def test_replaced_submodules_reach_the_algorithm():
    """As when the Runner reverts SyncBN, or a user swaps the head."""
    model = build_hvs('SimSiam')
    model.head = nn.Identity()
    assert model.algorithm.head is model.head


def test_init_weights_is_the_algorithms():
    config = algorithm_config('SimSiam')
    config['backbone']['init_cfg'] = {'type': 'Constant', 'layer': 'Conv2d', 'val': 0.25}
    model = HVSAlgorithm(config, [4], [2])
    model.init_weights()
    assert (model.backbone.conv1.weight == 0.25).all()
    with torch.no_grad():
        model.backbone.conv1.weight += 1
    model.init_weights()
    assert (model.backbone.conv1.weight == 1.25).all(), 'a second call must not start again'


def test_data_preprocessor_is_handed_on():
    preprocessor = {'type': 'SelfSupDataPreprocessor', 'mean': [1, 2, 3], 'std': [4, 5, 6]}
    model = HVSAlgorithm(algorithm_config('SimSiam'), [4], [2], data_preprocessor=preprocessor)
    assert model.algorithm.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    own = {**algorithm_config('SimSiam'), 'data_preprocessor': {'mean': [7] * 3, 'std': [8] * 3}}
    model = HVSAlgorithm(own, [4], [2], data_preprocessor=preprocessor)
    assert model.data_preprocessor.mean.flatten().tolist() == [7] * 3


def test_configs_are_not_changed():
    config = Config(dict(type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'),
                         candidates=[4], keep=[2], selector=dict(type='random')))  # fmt: skip
    before = config.pretty_text
    MODELS.build(config)
    assert config.pretty_text == before


# --- Training --------------------------------------------------------------------------------


def train(model, num_steps=5, cls=OptimWrapper, num_views=2, **kwargs):
    wrapper = optim_wrapper(model, cls, **kwargs)
    wrapper.initialize_count_status(model, 0, num_steps)
    generator = torch.Generator().manual_seed(7)
    logs = []
    for _ in range(num_steps):
        views = [torch.randn(4, 3, 32, 32, generator=generator) for _ in range(num_views)]
        logs.append(model.train_step(batch(views), wrapper))
    return logs


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('selector', ['hardest', 'random'])
def test_keeping_all_candidates_is_the_baseline(name, selector):
    """Same losses and weights, bit for bit, also with dropped paths and accumulation."""
    baseline = build_algorithm(name, BATCH_NORM, drop_path_rate=0.3)
    model = HVSAlgorithm(deepcopy(baseline), [2], [2], selector=selector)
    torch.manual_seed(3)
    expected = train(baseline, accumulative_counts=2)
    torch.manual_seed(3)
    logs = train(model, accumulative_counts=2)
    for log, baseline_log in zip(logs, expected):
        assert torch.equal(log['loss'], baseline_log['loss'])
    assert_same_state(full_state(baseline), full_state(model))


@pytest.mark.parametrize('name', METHODS)
def test_selection_has_an_effect(name):
    """The counterpart of the test above: with more candidates the weights differ."""
    baseline = build_algorithm(name)
    model = HVSAlgorithm(deepcopy(baseline), [4], [2])
    train(baseline, num_views=2)
    train(model, num_views=4)
    assert not torch.equal(model.backbone.conv1.weight, baseline.backbone.conv1.weight)


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('cls', [OptimWrapper, AutocastOptimWrapper])
def test_gradients_are_those_of_the_kept_views(name, cls):
    """Also under autocast, whose weight cache must not cut the graph (see select_views)."""
    model = build_hvs(name, GROUP_NORM)
    twin = deepcopy(model.algorithm)
    views = random_views()
    wrapper = optim_wrapper(model, cls)
    with wrapper.optim_context(model):
        loss, _ = model.parse_losses(model.loss(views))
    loss.backward()
    kept = model.gather(views, model.last_selection.indices)
    with wrapper.optim_context(twin):
        expected, _ = twin.parse_losses(twin.loss(kept, None))
    expected.backward()
    torch.testing.assert_close(loss, expected)
    expected_gradients = {key: p.grad for key, p in twin.named_parameters() if p.requires_grad}
    assert any(g is not None and g.abs().sum() > 0 for g in expected_gradients.values())
    for key, gradient in expected_gradients.items():
        torch.testing.assert_close(model.get_parameter(key).grad, gradient, msg=key)


def test_bfloat16_run_scores_in_float32():
    model = build_hvs('SimSiam')
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='AutocastOptimWrapper', optimizer=optim_wrapper(model).optimizer)
    )
    with wrapper.optim_context(model):
        assert model.backbone(random_views(1)[0])[0].dtype == torch.bfloat16
    before = full_state(model)
    model.train_step(batch(random_views()), wrapper)
    assert model.last_selection.pair_loss.dtype == torch.float32
    assert model.last_selection.score.dtype == torch.float32
    assert all(not p.equal(before[key]) for key, p in model.named_parameters())


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('views', [3, 5, 2])
def test_wrong_number_of_views(views):
    message = (
        rf'the loader gives {views} views per image, but candidates=\[4\] needs 4.*CandidateViews'
    )
    model = build_hvs('SimSiam')
    with pytest.raises(ValueError, match=message):
        model.loss(random_views(views))
    with pytest.raises(ValueError, match=message):
        model.select_views(random_views(views))


def test_a_tensor_instead_of_a_list():
    with pytest.raises(TypeError, match='needs a list of one tensor per candidate view'):
        build_hvs('SimSiam').loss(torch.randn(4, 3, 32, 32))


def test_views_of_unequal_size_inside_a_group():
    views = random_views(3) + random_views(1, size=48)
    with pytest.raises(ValueError, match=r'views of group 0 .* differ in shape: .*48'):
        build_hvs('SimSiam').loss(views)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda view: view.double(), r'view 0 is torch.float64, the weights .* torch.float32'),
        (lambda view: view.byte(), 'view 0 is torch.uint8'),
        (lambda view: view[:0], r'view 0 has shape \(0, 3, 32, 32\)'),
        (lambda view: view[0], r'view 0 has shape \(3, 32, 32\)'),
        (lambda view: view[:, :, :0], 'at least one sample and one pixel'),
    ],
)
def test_views_that_are_no_batches_of_images(change, message):
    model, views = build_hvs('SimSiam'), [change(view) for view in random_views()]
    for call in (model.loss, model.select_views):
        with pytest.raises(ValueError, match=message):
            call(views)


def test_groups_of_unequal_batches():
    model = build_hvs('SimSiam', candidates=[1, 1], keep=[1, 1])
    views = random_views(1, batch_size=2) + random_views(1, batch_size=3)
    with pytest.raises(ValueError, match='all of the same B'):
        model.select_views(views)


def test_views_that_autocast_casts_are_taken():
    model = build_hvs('SimSiam')
    with torch.autocast('cpu', torch.bfloat16):
        model.select_views([view.bfloat16() for view in random_views()])
        with pytest.raises(ValueError, match=r'torch\.float64'):
            model.select_views([view.double() for view in random_views()])


@pytest.mark.parametrize(
    ('samples', 'error', 'message'),
    [
        ([None] * 2, ValueError, '2 data samples for 3 images'),
        ([], ValueError, '0 data samples for 3 images'),
        ({}, TypeError, 'data_samples is a dict'),
        ('abc', TypeError, 'data_samples is a str'),
        (3, TypeError, 'data_samples is a int'),
    ],
)
def test_wrong_data_samples(samples, error, message):
    model = build_hvs('SimSiam')
    for call in (model.loss, model.select_views):
        with pytest.raises(error, match=message):
            call(random_views(), samples)


@pytest.mark.parametrize('name', ['SimCLR', 'DenseCL'])
def test_methods_that_take_views_of_one_size(name):
    model = build_hvs(name, candidates=[2, 2], keep=[1, 1])
    with pytest.raises(ValueError, match=rf'{name} takes views of one size.*\(16, 16\)'):
        model.loss(random_views(2) + random_views(2, size=16))


def test_target_groups_must_come_first():
    model = build_hvs('SimCLR', candidates=[1, 1, 1], keep=[1, 1, 1], pair_loss=OneSided())
    views = random_views(1) + random_views(1, size=16) + random_views(1)
    with pytest.raises(ValueError, match='must come first'):
        model.select_views(views)


@pytest.mark.parametrize('target_groups', [[1], [0, 0], [0, 1, 2], []])
def test_wrong_target_groups(target_groups):
    with pytest.raises(ValueError, match='target_groups='):
        build_hvs('SimSiam', candidates=[2, 2], keep=[1, 1], target_groups=target_groups)


@pytest.mark.parametrize('target_groups', [0, True, 'a', {0}])
def test_target_groups_that_are_no_list(target_groups):
    with pytest.raises(TypeError, match='target_groups='):
        build_hvs('SimSiam', candidates=[2, 2], keep=[1, 1], target_groups=target_groups)


def test_target_groups_that_are_no_numbers():
    with pytest.raises(ValueError, match='target_groups='):
        build_hvs('SimSiam', candidates=[2, 2], keep=[1, 1], target_groups=[False, True])


@pytest.mark.parametrize('name', ['', '.', '.x', 'x.', 'a.b', 'os.path', 'a b'])
def test_names_of_nothing(name):
    with pytest.raises(ValueError, match='selector='):
        build_hvs('SimSiam', selector=name)
    with pytest.raises(ValueError, match='pair_loss='):
        build_hvs('SimSiam', pair_loss={'type': name})


@pytest.mark.parametrize('dtype', [[], ['bfloat16'], 16, {}])
def test_a_dtype_that_is_no_name(dtype):
    with pytest.raises(ValueError, match=r'selection_pass\.dtype='):
        build_hvs('SimSiam', selection_pass={'dtype': dtype})


@pytest.mark.parametrize('name', METHODS)
def test_batch_size_one_with_batch_norm(name):
    model = build_hvs(name)
    with pytest.raises(
        ValueError, match=r'batch size 1 with BatchNorm.*train_dataloader.batch_size'
    ):
        model.loss(random_views(batch_size=1))
    # Nothing to complain about in eval mode, or without BatchNorm.
    model.eval().loss(random_views(batch_size=1))
    build_hvs('SimSiam', GROUP_NORM).loss(random_views(batch_size=1))


@pytest.mark.parametrize('name', ['MoCo', 'DenseCL'])
def test_a_batch_that_does_not_fit_into_the_queue(name):
    model = build_hvs(name)
    message = r'queue_len=48 is no multiple of the 5 images of a step.*drop_last=True'
    with pytest.raises(ValueError, match=message):
        model.loss(random_views(batch_size=5))
    with pytest.raises(ValueError, match='queue_len=48 is no multiple of the 96 images'):
        model.loss(random_views(batch_size=96, size=8))
    # Nothing is added to the queue to show a choice.
    assert model.select_views(random_views(batch_size=5)).indices.shape == (5, 2)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_pixels_that_are_not_finite(value):
    model, views = build_hvs('SimSiam'), random_views()
    views[2][1, 0, 5, 5] = value
    before = full_state(model)
    with pytest.raises(ValueError, match=r'1 candidate view.*NaN or infinite.*view 2 of sample 1'):
        model.loss(views)
    assert_same_state(before, full_state(model))


def test_half_precision_pixels_do_not_overflow():
    views = [torch.full((3, 3, 224, 224), 2.0, dtype=torch.float16) for _ in range(4)]
    build_hvs('SimSiam')._check_finite(views, None)


def test_path_of_the_image_is_named():
    from mmpretrain.structures import DataSample

    model, views = build_hvs('SimSiam'), random_views()
    views[0][2] = math.nan
    samples = [DataSample(metainfo={'img_path': f'{i}.jpg'}) for i in range(3)]
    with pytest.raises(ValueError, match=r'sample 2 \(2.jpg\)'):
        model.loss(views, samples)


def test_a_view_with_nan_features_is_never_kept():
    model, views = build_hvs('SimSiam', GROUP_NORM), random_views()
    views[2][1] = math.nan
    selection = model.select_views(views)
    assert 2 not in selection.indices[1]
    assert selection.score.isfinite().all()
    assert selection.nonfinite.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize(
    ('algorithm', 'message'),
    [
        ('SimSiam', "algorithm='SimSiam' must be the config"),
        ({'depth': 50}, 'must be the config of a self-supervised algorithm'),
        (nn.Linear(2, 2), 'algorithm is a Linear'),
    ],
)
def test_wrong_algorithm(algorithm, message):
    with pytest.raises(TypeError, match=message):
        HVSAlgorithm(algorithm, [4], [2])


def test_preprocessor_of_a_built_algorithm():
    with pytest.raises(ValueError, match='pass it where the algorithm is built'):
        HVSAlgorithm(build_algorithm('SimSiam'), [4], [2], data_preprocessor={'mean': [0] * 3})
