from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmpretrain.registry import HOOKS
from torch import nn

from hvs_mm.engine import GradientHook, clip_each_gradient
from hvs_mm.engine.checks.hook_checks import check_clipping
from hvs_mm.engine.hooks.gradient_hook import CLIPPERS
from hvs_mm.engine.hooks.gradient_hook import _check_unscaled as check_unscaled
from tests.helpers.nonfinite_runs import CPUAmpOptimWrapper
from tests.helpers.tiny_dino import build_runner, dino_config

FROZEN = 'neck.last_layer.weight_v'


# --- Clipping --------------------------------------------------------------------------------


def parameters_with_gradients(norms):
    """One parameter for each norm of its gradient, and one without a gradient."""
    parameters = [nn.Parameter(torch.zeros(*shape)) for shape in [(3, 4), (5,), (2, 2, 2)]]
    for parameter, norm in zip(parameters, norms):
        gradient = torch.randn_like(parameter)
        parameter.grad = norm * gradient / gradient.norm()
    return [*parameters, nn.Parameter(torch.zeros(2))]


@pytest.mark.parametrize('max_norm', [0.3, 3.0])
def test_clipping_is_per_tensor(max_norm):
    """As a loop over torch's own clipping of a single tensor."""
    parameters = parameters_with_gradients([0.1, 2.0, 50.0])
    expected = deepcopy(parameters)
    for parameter, other in zip(parameters, expected):
        if parameter.grad is not None:
            other.grad = parameter.grad.clone()
            nn.utils.clip_grad_norm_([other], max_norm)
    clip_each_gradient(parameters, max_norm)
    for parameter, other in zip(parameters[:3], expected):
        torch.testing.assert_close(parameter.grad, other.grad)
    norms = [parameter.grad.norm().item() for parameter in parameters[:3]]
    assert norms == pytest.approx([min(n, max_norm) for n in (0.1, 2.0, 50.0)], rel=1e-4)
    assert parameters[3].grad is None


def test_clipping_leaves_small_gradients_alone():
    parameters = parameters_with_gradients([0.1, 0.2, 0.3])
    before = [parameter.grad.clone() for parameter in parameters[:3]]
    clip_each_gradient(parameters, 3.0)
    assert all(torch.equal(p.grad, g) for p, g in zip(parameters, before))


def test_nothing_to_clip():
    clip_each_gradient([], 3.0)
    clip_each_gradient([nn.Parameter(torch.zeros(2))], 3.0)


# --- In a run --------------------------------------------------------------------------------


class Recorder(Hook):
    """What every iteration leaves behind."""

    def __init__(self):
        self.weights, self.averages, self.gradients = [], [], []

    def before_train(self, runner):
        self.weights.append(self.all_weights(runner))

        def before_step(optimizer, args, kwargs):
            self.gradients.append(
                {
                    name: None if p.grad is None else p.grad.clone()
                    for name, p in runner.model.named_parameters()
                    if p.requires_grad
                }
            )

        # Registered last, so it sees what the optimizer will see.
        runner.optim_wrapper.optimizer.register_step_pre_hook(before_step)

    def all_weights(self, runner):
        return {name: p.detach().clone() for name, p in runner.model.named_parameters()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.weights.append(self.all_weights(runner))
        names = {p: name for name, p in runner.model.named_parameters()}
        self.averages.append(
            {names[p] for p, state in runner.optim_wrapper.optimizer.state.items() if state}
        )


def run(work_dir, hook, model=None, num_views=(2, 2), **kwargs):
    recorder = Recorder()
    runner = build_runner(
        work_dir,
        model or dino_config(),
        num_views=num_views,
        hooks=[dict(type='GradientHook', **hook)],
        **{'num_batches': 2, 'max_epochs': 3, **kwargs},
    )
    runner.register_hook(recorder, priority='VERY_LOW')
    runner.train()
    return runner, recorder


def moved(recorder, name):
    """Whether the parameter moved, iteration by iteration."""
    return [
        not torch.equal(before[name], after[name])
        for before, after in zip(recorder.weights, recorder.weights[1:])
    ]


@pytest.mark.parametrize('kind', ['DINO', 'IBOT', 'HVS'])
def test_last_layer_is_frozen_in_the_first_epochs(tmp_path, kind):
    """Although it has a gradient, a weight decay and the optimizer's averages."""
    model, num_views = dino_config('IBOT' if kind == 'IBOT' else 'DINO'), (2, 2)
    if kind == 'HVS':
        model = dict(type='HVSAlgorithm', algorithm=model, candidates=[4, 3], keep=[2, 2])
        num_views = (4, 3)
    _, recorder = run(tmp_path, dict(freeze_epochs=1), model, num_views)
    # Two iterations an epoch.
    assert moved(recorder, FROZEN) == [False] * 2 + [True] * 4
    assert [FROZEN in names for names in recorder.averages] == [False] * 2 + [True] * 4
    others = [
        name
        for name in recorder.gradients[0]
        if not name.startswith('neck.last_layer') and name != 'backbone.mask_token'
    ]
    for name in others:
        assert all(moved(recorder, name)), name


def test_both_last_layers_are_frozen(tmp_path):
    model = dino_config('IBOT', neck={'shared_head': False, 'fixed_norm': False})
    _, recorder = run(tmp_path, dict(freeze_epochs=2), model)
    names = [f'neck.last_layer{number}.weight_{part}' for number in ('', '2') for part in 'gv']
    assert not any(any(moved(recorder, name)[:4]) for name in names)
    assert all(moved(recorder, 'neck.last_layer.weight_v')[4:])
    assert all(moved(recorder, 'neck.last_layer.weight_g')[4:])


def test_frozen_under_accumulation(tmp_path):
    """An optimizer step over both epochs counts as one of the second."""
    _, recorder = run(
        tmp_path,
        dict(freeze_epochs=1),
        num_batches=3,
        max_epochs=2,
        optim_wrapper={'accumulative_counts': 2},
    )
    assert moved(recorder, FROZEN) == [False, False, False, True, False, True]
    assert moved(recorder, 'backbone.cls_token') == [False, True, False, True, False, True]


def test_frozen_after_a_resume(tmp_path):
    options = dict(
        default_hooks={'checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True)}
    )
    run(tmp_path, dict(freeze_epochs=2), max_epochs=1, **options)
    _, recorder = run(tmp_path, dict(freeze_epochs=2), max_epochs=3, resume=True, **options)
    assert moved(recorder, FROZEN) == [False, False, True, True]


def test_a_backbone_frozen_for_a_share_of_the_run(tmp_path):
    """The heads train alone for 2 of 4 iterations, also in a loop that counts these."""
    hook = dict(freeze=r'(^|\.)backbone\.', freeze_share=0.5)
    train_cfg = {'type': 'IterBasedTrainLoop', 'max_iters': 4}
    _, recorder = run(tmp_path, hook, train_cfg=train_cfg)
    names = recorder.gradients[0].keys()
    for name in names:
        frozen = 2 if name.startswith('backbone.') else 0
        if name != 'backbone.mask_token':
            assert moved(recorder, name) == [False] * frozen + [True] * (4 - frozen), name


def test_without_freezing_it_moves(tmp_path):
    _, recorder = run(tmp_path, {}, max_epochs=1)
    assert moved(recorder, FROZEN) == [True, True]


def test_the_teacher_does_not_count_as_frozen(tmp_path):
    """Its parameters have the same names behind a prefix, but are not trained."""
    with pytest.raises(ValueError, match=r"freeze='teacher.*' is found in the name of no trained"):
        run(tmp_path, dict(freeze='teacher', freeze_epochs=1))


@pytest.mark.parametrize('counts', [1, 2])
def test_clipping_in_a_run(tmp_path, counts):
    """The gradient that a step uses, accumulated or not, against the one without the hook."""
    optim_wrapper = {'accumulative_counts': counts}
    _, free = run(tmp_path / 'free', {}, max_epochs=1, optim_wrapper=optim_wrapper)
    norms = {name: g.norm().item() for name, g in free.gradients[0].items()}
    clip = sorted(norms.values())[len(norms) // 2]
    assert min(norms.values()) < clip < max(norms.values())
    _, clipped = run(
        tmp_path / 'clipped', dict(clip=clip), max_epochs=1, optim_wrapper=optim_wrapper
    )
    for name, gradient in free.gradients[0].items():
        expected = gradient * min(1, clip / (norms[name] + 1e-6))
        torch.testing.assert_close(clipped.gradients[0][name], expected, rtol=1e-4, atol=1e-7)


def test_clipping_of_the_model_in_a_run(tmp_path):
    """All gradients shrink by one factor, frozen ones included in the norm."""
    _, free = run(tmp_path / 'free', {}, max_epochs=1)
    gradients = free.gradients[0]
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm().item()
    hook = dict(clip=norm / 4, by='model', freeze_epochs=1)
    _, clipped = run(tmp_path / 'clipped', hook, max_epochs=1)
    assert clipped.gradients[0].pop(FROZEN) is None
    for name, gradient in clipped.gradients[0].items():
        torch.testing.assert_close(gradient, gradients[name] / 4, rtol=1e-4, atol=1e-7)
    _, loose = run(tmp_path / 'loose', dict(clip=norm * 2, by='model'), max_epochs=1)
    assert all(torch.equal(loose.gradients[0][name], gradients[name]) for name in gradients)


def test_clipping_of_each_part():
    """Backbone and neck by a norm of their own, as DINOv2's networks."""
    names = ('backbone.a.weight', 'backbone.b', 'neck.mlp.weight', 'neck.frozen')
    parameters = {name: nn.Parameter(torch.zeros(4)) for name in names}
    for number, parameter in enumerate(parameters.values()):
        parameter.grad = torch.full((4,), (3.0, 4.0, 0.1, 0.0)[number])
    parameters['neck.frozen'].grad = None
    CLIPPERS['part'](parameters, 2.5)
    # Norms of 10 and 0.2.
    for name, expected in zip(names, (0.75, 1.0, 0.1)):
        torch.testing.assert_close(parameters[name].grad, torch.full((4,), expected))


def test_the_hook_ends_with_the_run(tmp_path):
    runner, _ = run(tmp_path, dict(clip=1e-3), max_epochs=1)
    optimizer = runner.optim_wrapper.optimizer
    parameter = runner.model.backbone.cls_token
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert torch.equal(parameter.grad, torch.ones_like(parameter))


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('clip', [0, -3.0])
def test_wrong_clip(clip):
    with pytest.raises(ValueError, match=f'clip={clip} must be positive, or None'):
        HOOKS.build(dict(type='GradientHook', clip=clip))


def test_wrong_norm_to_clip_by():
    with pytest.raises(
        ValueError, match=r"by='layer' must be one of \['tensor', 'part', 'model'\]"
    ):
        GradientHook(clip=3.0, by='layer')


def test_wrong_freeze_epochs():
    with pytest.raises(ValueError, match='freeze_epochs=-1 must not be negative'):
        GradientHook(freeze_epochs=-1)


def test_wrong_freeze_share():
    with pytest.raises(ValueError, match=r'freeze_share=1.5 must be between 0 and 1'):
        GradientHook(freeze_share=1.5)


def test_nothing_to_freeze(tmp_path):
    with pytest.raises(ValueError, match=r"freeze='prototypes' is found in the name of no.*such"):
        run(tmp_path, dict(freeze='prototypes', freeze_epochs=1))


@pytest.mark.parametrize('fused', [False, True])
def test_what_is_clipped_is_unscaled(fused):
    """The check refuses where the scale is still on the gradients, and nowhere else."""
    parameter = nn.Parameter(torch.ones(4))
    for clip_grad in (None, dict(max_norm=1e9)):
        optimizer = torch.optim.AdamW([parameter], fused=fused)
        wrapper = CPUAmpOptimWrapper(1024.0, optimizer=optimizer, clip_grad=clip_grad)
        norms = []
        optimizer.register_step_pre_hook(lambda *args, to=norms: to.append(parameter.grad.norm()))
        wrapper.update_params(parameter.sum())
        if norms[0] == 2:
            check_unscaled(wrapper, 3.0)
        else:
            assert norms[0] == 2048
            with pytest.raises(ValueError, match=r'clip=3.0 of GradientHook would.*fused=False'):
                check_unscaled(wrapper, 3.0)
    check_unscaled(OptimWrapper(torch.optim.AdamW([parameter], fused=fused)), 3.0)


def test_fused_with_a_loss_scaler(tmp_path):
    wrapper = {
        'type': 'CPUAmpOptimWrapper',
        'optimizer': {'type': 'AdamW', 'lr': 0.01, 'fused': True},
    }
    with pytest.raises(ValueError, match=r'clip=3.0 of GradientHook would clip'):
        run(tmp_path, dict(clip=3.0), optim_wrapper=wrapper)


def test_fused_with_a_loss_scaler_before_a_run():
    optimizer = dict(type='AdamW', fused=True)
    wrapper = dict(type='mmpretrain.AmpOptimWrapper', optimizer=optimizer)
    cfg = Config(dict(optim_wrapper=wrapper, custom_hooks=[dict(type='GradientHook', clip=3.0)]))
    with pytest.raises(ValueError, match=r'clip=3.0 of GradientHook would clip'):
        check_clipping(cfg)
    for key, value in (
        ('custom_hooks.0.clip', None),
        ('optim_wrapper.optimizer.fused', False),
        ('optim_wrapper.clip_grad', dict(max_norm=1.0)),
        ('optim_wrapper.type', 'OptimWrapper'),
    ):
        other = deepcopy(cfg)
        other.merge_from_dict({key: value})
        check_clipping(other)


BY_ITERATION = {'type': 'IterBasedTrainLoop', 'max_iters': 3}


def test_freezing_in_a_loop_by_iterations(tmp_path):
    """Its epoch stays 0: the layer would never be trained."""
    message = r'freeze_epochs=1 .*IterBasedTrainLoop, counts iterations: set freeze_epochs=0'
    with pytest.raises(ValueError, match=message):
        run(tmp_path, dict(freeze_epochs=1), train_cfg=BY_ITERATION)


def test_without_freezing_a_loop_by_iterations_is_fine(tmp_path):
    _, recorder = run(tmp_path, dict(clip=3.0), train_cfg=BY_ITERATION)
    assert moved(recorder, FROZEN) == [True] * 3
