"""DINO as a baseline and with hard view selection; what iBOT shares is tested for both."""

from __future__ import annotations

import math
from contextlib import contextmanager
from copy import deepcopy
from itertools import combinations, product

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn

from hvs_mm.engine import AutocastOptimWrapper
from hvs_mm.models import DINOHead, DINONeck, HVSAlgorithm, ViewsError
from tests.helpers.states import assert_same_state, full_state
from tests.helpers.tiny_dino import (
    GLOBAL,
    LOCAL,
    PATCH,
    PROTOTYPES,
    RESNET,
    build_dino,
    build_hvs_dino,
    candidate_crops,
    crops,
    dino_config,
    epoch_of_run,
    random_samples,
)

METHODS = ['DINO', 'IBOT']
#: candidates -> keep of the methods
SETTINGS = [
    ('DINO', [2, 2, 4], [1, 1, 2]),
    ('IBOT', [2, 2, 4], [1, 1, 2]),
    ('DINO', [2, 2], [1, 1]),
    ('IBOT', [2, 2], [1, 1]),
]


def optim_wrapper(model, cls=OptimWrapper, **kwargs):
    trained = [p for p in model.parameters() if p.requires_grad]
    return cls(torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=1e-4), **kwargs)


@contextmanager
def recorded(*modules):
    """The shapes of the images that each module is called with."""
    calls = [[] for _ in modules]
    handles = [
        module.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(tuple(args[0].shape))
        )
        for module, seen in zip(modules, calls)
    ]
    yield calls
    for handle in handles:
        handle.remove()


def resnet_dino(**kwargs):
    return build_dino(backbone=RESNET, neck={'in_channels': 64, **kwargs.pop('neck', {})}, **kwargs)


# --- Forward ---------------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_forward_is_grouped_by_resolution(name):
    algorithm = build_dino(name)
    with recorded(algorithm.backbone, algorithm.teacher['backbone']) as (student, teacher):
        algorithm.loss(crops(2, 2), random_samples(3, 2))
    assert student == [(6, 3, GLOBAL, GLOBAL), (6, 3, LOCAL, LOCAL)]
    # The teacher sees the global crops alone.
    assert teacher == [(6, 3, GLOBAL, GLOBAL)]


@pytest.mark.parametrize('build', [build_dino, resnet_dino])
def test_logits_are_those_of_single_views(build):
    algorithm = build().eval()
    views = crops(2, 2)
    with torch.no_grad():
        student, teacher = algorithm.student_logits(views), algorithm.teacher_logits(views[:2])
        assert student.shape == (3, 4, PROTOTYPES)
        assert teacher.shape == (3, 2, PROTOTYPES)
        for s, view in enumerate(views):
            expected = algorithm.neck(algorithm.backbone(view))[0]
            torch.testing.assert_close(student[:, s], expected, rtol=1e-4, atol=1e-5)
        for t, view in enumerate(views[:2]):
            expected = algorithm.teacher['neck'](algorithm.teacher['backbone'](view))[0]
            torch.testing.assert_close(teacher[:, t], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(student[:, :2], teacher, atol=1e-2)


def logits_per_resolution(algorithm, views):
    """Student and neck, once for each size of views."""
    logits = [algorithm.neck(algorithm.backbone(torch.cat(views[i : i + 2])))[0] for i in (0, 2)]
    return torch.cat(logits).unflatten(0, (len(views), -1)).transpose(0, 1)


@pytest.mark.parametrize('build', [build_dino, resnet_dino])
def test_neck_runs_once_for_all_views(build):
    """As in the published code; without BatchNorm it makes no difference."""
    algorithm, views = build(), crops(2, 2)
    with torch.no_grad(), recorded(algorithm.neck.mlp) as (calls,):
        student, teacher = algorithm.student_logits(views), algorithm.teacher_logits(views[:2])
        assert calls == [(4 * 3, algorithm.neck.mlp[0].in_features)]
        expected = logits_per_resolution(algorithm, views)
        torch.testing.assert_close(student, expected, rtol=1e-5, atol=1e-6)
        neck, backbone = algorithm.teacher['neck'], algorithm.teacher['backbone']
        expected = torch.stack(neck(backbone(torch.cat(views[:2])))[0].chunk(2), 1)
        torch.testing.assert_close(teacher, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('build', [build_dino, resnet_dino])
def test_batch_norm_of_the_neck_sees_all_views_together(build):
    algorithm, views = build(neck={'use_bn': True}), crops(2, 2)
    twin = deepcopy(algorithm)
    with torch.no_grad():
        outputs = [twin.backbone(torch.cat(views[i : i + 2]))[-1] for i in (0, 2)]
        features = torch.cat([x.mean((2, 3)) if x.ndim == 4 else x for x in outputs])
        expected = twin.neck((features,))[0].unflatten(0, (4, 3)).transpose(0, 1)
        logits = algorithm.student_logits(views)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        # The counterpart: statistics of each size by itself are other ones.
        assert not torch.allclose(logits, logits_per_resolution(twin, views), atol=1e-2)
    assert algorithm.neck.mlp[1].num_batches_tracked == 1


def test_loss_by_hand():
    """Student, teacher, temperatures, center: the formula of the paper, crop by crop."""
    algorithm = build_dino(
        head={'student_temp': 0.2, 'teacher_temp': 0.05, 'warmup_teacher_temp': 0.05}
    )
    views, terms = crops(2, 2), []
    with torch.no_grad():
        for t, s in product(range(2), range(4)):
            if t != s:
                y = algorithm.teacher['neck'](algorithm.teacher['backbone'](views[t]))[0]
                x = algorithm.neck(algorithm.backbone(views[s]))[0]
                target = ((y - algorithm.head.center) / 0.05).softmax(-1)
                terms.append(-(target * (x / 0.2).log_softmax(-1)).sum(-1).mean())
        loss = algorithm.loss(views)['loss']
    torch.testing.assert_close(loss, sum(terms) / 6, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', METHODS)
def test_stochastic_depth_is_the_students_alone(name):
    algorithm = build_dino(name, drop_path=0.5).train()
    view = crops(1, batch_size=16)[0]
    with torch.no_grad():
        student = [algorithm.backbone(view)[-1] for _ in range(2)]
        state = torch.get_rng_state()
        teacher = [algorithm.teacher['backbone'](view)[-1] for _ in range(2)]
    assert not torch.equal(*student)
    assert torch.equal(*teacher)
    assert algorithm.teacher.training
    # It draws nothing either: with or without its forward pass the student drops the same paths.
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('name', METHODS)
def test_gradients_reach_the_student_alone(name):
    algorithm = build_dino(name)
    losses = algorithm.loss(crops(2, 2), random_samples(3, 2))
    losses['loss'].backward()
    for key, parameter in algorithm.named_parameters():
        if key.startswith('teacher.') or key.endswith('weight_g'):
            assert not parameter.requires_grad, key
            assert parameter.grad is None, key
        else:
            assert parameter.grad.abs().sum() > 0, key


def test_norm_of_prototypes_fixed_or_free():
    x = torch.randn(5, 32)
    fixed, free = (DINONeck(32, 64, 32, 16, fixed_norm=value) for value in (True, False))
    assert not fixed.last_layer.weight_g.requires_grad
    assert free.last_layer.weight_g.requires_grad
    with torch.no_grad():
        free.last_layer.weight_g.uniform_(0.5, 2)
    for neck in (fixed, free):
        logits, bottleneck = neck((x,))[0], neck.project(x)
        torch.testing.assert_close(bottleneck.norm(dim=-1), torch.ones(5))
        # torch's own weight normalization.
        reference = nn.utils.weight_norm(nn.Linear(16, 64, bias=False))
        reference.load_state_dict(neck.last_layer.state_dict())
        torch.testing.assert_close(logits, reference(bottleneck))
    # A prototype of unit length and a bottleneck of unit length: a cosine.
    assert fixed((x,))[0].abs().max() <= 1


def test_neck_layers():
    neck = DINONeck(32, 64, hidden_channels=24, bottleneck_channels=16, num_layers=3, use_bn=True)
    kinds = [type(layer).__name__ for layer in neck.mlp]
    assert kinds == ['Linear', 'BatchNorm1d', 'GELU'] * 2 + ['Linear']
    assert [tuple(m.weight.shape) for m in neck.mlp if isinstance(m, nn.Linear)] == [
        (24, 32),
        (24, 24),
        (16, 24),
    ]
    assert all((m.bias == 0).all() for m in neck.mlp if isinstance(m, nn.Linear))
    assert len(DINONeck(32, 64, num_layers=1).mlp) == 1
    # Feature maps are pooled.
    maps = torch.randn(4, 32, 3, 3)
    torch.testing.assert_close(neck.eval()((maps,))[0], neck((maps.mean((2, 3)),))[0])


def test_default_size():
    """As published: 65536 prototypes, an MLP of 2048, a bottleneck of 256."""
    with torch.device('meta'):
        neck, head = DINONeck(384), DINOHead()
    assert neck.last_layer.weight_v.shape == (65536, 256)
    assert neck.mlp[0].weight.shape == (2048, 384)
    assert head.center.shape == (1, 65536)
    assert head.num_crops == 10
    assert (head.student_temp, head.teacher_temp, head.center_momentum) == (0.1, 0.04, 0.9)


# --- Teacher ---------------------------------------------------------------------------------


def student_of(algorithm):
    parts = {'backbone': algorithm.backbone, 'neck': algorithm.neck}
    return {
        f'{part}.{key}': value
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('wrapped', [False, True])
def test_teacher_starts_as_the_student(name, wrapped):
    model = MODELS.build(dino_config(name))
    if wrapped:
        model = HVSAlgorithm(model, [2, 2], [2, 2])
    # Initialization draws new weights, which the teacher must have, too.
    before = model.backbone.pos_embed.clone()
    model.init_weights()
    assert not torch.equal(model.backbone.pos_embed, before)
    assert_same_state(student_of(model), dict(model.teacher.state_dict()))
    assert not any(a is b for a, b in zip(model.backbone.parameters(), model.teacher.parameters()))


def saved(model, path, *parts):
    """A checkpoint with the tensors whose names begin with one of the parts."""
    state = {k: v for k, v in model.state_dict().items() if k.startswith(parts)}
    torch.save({'state_dict': state}, path)
    return state


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('wrapped', [False, True])
def test_the_teacher_of_a_checkpoint_stays(tmp_path, name, wrapped):
    path = str(tmp_path / 'whole.pth')
    state = saved(build_dino(name), path, '')
    model = MODELS.build({**dino_config(name), 'pretrained': path})
    if wrapped:
        model = HVSAlgorithm(model, [2, 2], [2, 2])
    model.init_weights()
    assert_same_state(state, dict(model.state_dict()))
    assert not torch.equal(state['teacher.neck.mlp.0.bias'], state['neck.mlp.0.bias'])


def test_a_teacher_that_a_checkpoint_lacks_starts_as_the_student(tmp_path):
    path = str(tmp_path / 'student.pth')
    state = saved(build_dino(), path, 'backbone.', 'neck.')
    model = MODELS.build({**dino_config(), 'pretrained': path})
    model.init_weights()
    assert_same_state(state, student_of(model))
    assert_same_state(student_of(model), dict(model.teacher.state_dict()))


def test_what_a_checkpoint_lacks_of_a_teacher_starts_as_the_student(tmp_path):
    path = str(tmp_path / 'parts.pth')
    state = saved(build_dino(), path, 'backbone.', 'teacher.backbone.')
    model = MODELS.build({**dino_config(), 'pretrained': path})
    model.init_weights()
    loaded = {key: model.state_dict()[key] for key in state}
    assert_same_state(state, loaded)
    assert_same_state(dict(model.neck.state_dict()), dict(model.teacher['neck'].state_dict()))


def test_a_teacher_at_another_image_size_stays(tmp_path):
    """Its position embeddings are interpolated, not the student's taken."""
    path = str(tmp_path / 'large.pth')
    source = build_dino(backbone={'img_size': 2 * GLOBAL})
    saved(source, path, '')
    model = MODELS.build({**dino_config(), 'pretrained': path})
    model.init_weights()
    assert not torch.equal(model.teacher['backbone'].pos_embed, model.backbone.pos_embed)
    key = 'teacher.neck.mlp.0.weight'
    assert torch.equal(model.state_dict()[key], source.state_dict()[key])


def test_other_initial_weights_of_the_model_are_no_teacher():
    """A rule for all layers of the model reaches the teacher's, too."""
    rule = dict(type='TruncNormal', layer='Linear', std=0.5, bias=0.3)
    model = MODELS.build({**dino_config(), 'init_cfg': rule})
    model.init_weights()
    assert (model.neck.mlp[0].bias == 0.3).all()
    assert_same_state(student_of(model), dict(model.teacher.state_dict()))


def test_teacher_starts_as_a_student_with_batch_norm():
    algorithm = MODELS.build(dino_config(backbone=RESNET, neck={'in_channels': 64}))
    with torch.no_grad():
        algorithm.backbone(torch.randn(4, 3, 32, 32))
    algorithm.init_weights()
    assert_same_state(student_of(algorithm), dict(algorithm.teacher.state_dict()))


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_second_initialization_changes_nothing(wrapped):
    """As for every module of MMEngine, which only warns; the trained teacher must stay."""
    model = MODELS.build(dino_config())
    if wrapped:
        model = HVSAlgorithm(model, [2, 2], [2, 2])
    model.init_weights()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter += 1
    before = full_state(model)
    model.init_weights()
    assert_same_state(before, full_state(model))


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('wrapped', [False, True])
def test_update_of_the_teacher(name, wrapped):
    model = build_dino(name)
    if wrapped:
        model = HVSAlgorithm(model, [2, 2], [2, 2])
    before, student = full_state(model), student_of(model)
    model.update_teacher(0.3)
    after = full_state(model)
    for key, value in before.items():
        if key.startswith('teacher.'):
            value = 0.7 * value + 0.3 * student[key.removeprefix('teacher.')]
            torch.testing.assert_close(after[key], value, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(after[key], value), key
    model.update_teacher(0.0)
    assert_same_state(after, full_state(model))
    model.update_teacher(1.0)
    for key, value in model.teacher.state_dict().items():
        torch.testing.assert_close(value, student[key])


def test_norm_of_prototypes_is_averaged_too():
    algorithm = build_dino(neck={'fixed_norm': False})
    student, teacher = algorithm.neck.last_layer.weight_g, algorithm.teacher['neck'].last_layer
    expected = (teacher.weight_g + student.detach()) / 2
    algorithm.update_teacher(0.5)
    torch.testing.assert_close(teacher.weight_g, expected)


# --- Checkpoints and copies ------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_checkpoints_go_both_ways(name):
    baseline, model = build_dino(name), build_hvs_dino(name)
    assert list(model.state_dict()) == list(baseline.state_dict())
    parts = {key.split('.')[0] for key in baseline.state_dict()}
    assert parts == {'backbone', 'neck', 'head', 'teacher'}
    centers = {'head.center'} | ({'head.patch_center'} if name == 'IBOT' else set())
    assert {key for key in baseline.state_dict() if key.startswith('head.')} == centers
    assert {key.split('.')[1] for key in baseline.state_dict() if key.startswith('teacher.')} == {
        'backbone',
        'neck',
    }
    other = build_hvs_dino(name)
    model.load_state_dict(baseline.state_dict(), strict=True)
    assert_same_state(full_state(baseline), full_state(model))
    baseline.load_state_dict(other.state_dict(), strict=True)
    assert_same_state(full_state(other), full_state(baseline))


@pytest.mark.parametrize('name', METHODS)
def test_copies(name):
    model = build_hvs_dino(name)
    # Past a step: a graph hanging on the model would prevent a copy.
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    model.loss(views, samples)['loss'].backward()
    model.zero_grad()
    copy = deepcopy(model)
    before = full_state(model)
    assert_same_state(before, full_state(copy))
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter += 1
        copy.update_teacher(0.5)
    copy.loss(views, samples)
    assert_same_state(before, full_state(model))
    assert copy.algorithm.teacher is copy.teacher


def test_backbone_loads_into_upstreams():
    algorithm, view = build_dino(), torch.randn(2, 3, 32, 32)
    config = dino_config()['backbone']
    upstream = MODELS.build({**config, 'type': 'VisionTransformer'})
    upstream.load_state_dict(algorithm.backbone.state_dict(), strict=True)
    assert torch.equal(upstream(view)[-1], algorithm.backbone(view)[-1])


# --- Selection -------------------------------------------------------------------------------


def losses_of_all_combinations(model, views, samples):
    """The baseline's own ``loss`` of every sample alone and every combination of its views."""
    groups = model.groups(views)
    all_kept = [
        tuple(view for pick in picks for view in pick)
        for picks in product(
            *(combinations(span, kept) for span, kept in zip(groups.spans(), groups.keep))
        )
    ]
    losses = torch.zeros(len(views[0]), len(all_kept))
    for (b, _), (column, kept) in product(enumerate(views[0]), enumerate(all_kept)):
        # A copy each: the centers move with every loss.
        twin = deepcopy(model.algorithm)
        arguments = {}
        if samples is not None:
            targets = [v for v in kept if v < groups.num_targets]
            masks = np.stack([samples[b].view_masks[view] for view in targets])
            arguments['masks'] = torch.from_numpy(masks)[None]
        with torch.no_grad():
            losses[b, column] = twin.loss([views[v][b : b + 1] for v in kept], **arguments)['loss']
    return torch.tensor(all_kept), losses


@pytest.mark.parametrize(('name', 'candidates', 'keep'), SETTINGS)
def test_the_combination_with_the_extreme_loss_is_kept(name, candidates, keep):
    head = {'cls_weight': 0.7, 'patch_weight': 1.3} if name == 'IBOT' else {}
    algorithm = build_dino(name, num_crops=sum(keep), head=head)
    model = HVSAlgorithm(algorithm, candidates, keep)
    views = candidate_crops(candidates)
    samples = random_samples(3, sum(candidates[:2])) if name == 'IBOT' else None
    kept, losses = losses_of_all_combinations(model, views, samples)
    for selector, sign in (('hardest', 1), ('easiest', -1)):
        model = HVSAlgorithm(algorithm, candidates, keep, selector=selector)
        best = (sign * losses).max(1)
        selection = model.select_views(views, samples)
        assert selection.indices.tolist() == kept[best.indices].tolist()
        # The score is the training loss of the sample.
        torch.testing.assert_close(selection.score, sign * best.values, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(selection.mean_score, losses.mean(1), rtol=1e-4, atol=1e-5)
    assert (losses.amax(1) - losses.amin(1)).min() > 1e-3, 'a choice that does not matter'


@pytest.mark.parametrize(('name', 'candidates', 'keep'), SETTINGS)
def test_training_loss_is_the_mean_score(name, candidates, keep):
    model = build_hvs_dino(name, candidates, keep)
    losses = model.loss(candidate_crops(candidates), random_samples(3, sum(candidates[:2])))
    torch.testing.assert_close(losses['loss'].detach(), losses['hvs_score'], rtol=1e-4, atol=1e-5)
    assert losses['hvs_score'] > losses['hvs_score_mean']


@pytest.mark.parametrize('name', METHODS)
def test_pair_loss_of_every_sample_alone(name):
    model = build_hvs_dino(name)
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    together = model.select_views(views, samples).pair_loss
    assert together.shape == (3, 4, 8)
    assert together.dtype == torch.float32
    for b in range(3):
        one = slice(b, b + 1)
        alone = model.select_views([view[one] for view in views], samples[one]).pair_loss
        torch.testing.assert_close(alone[0], together[b], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('drop_path', [0.0, 0.3])
def test_selection_changes_no_state(name, drop_path):
    model = build_hvs_dino(name, drop_path=drop_path)
    # Mixed modes, as with frozen stages, must stay mixed.
    model.backbone.layers[0].eval()
    before = full_state(model)
    modes = {key: module.training for key, module in model.named_modules()}
    random_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    model.select_views(candidate_crops((2, 2, 4)), random_samples(3, 4))
    # The samples above were drawn with torch alone; put that aside.
    torch.set_rng_state(random_state)
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    random_state = torch.get_rng_state()
    model.select_views(views, samples)
    assert torch.equal(random_state, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpy_state
    assert_same_state(before, full_state(model))
    assert modes == {key: module.training for key, module in model.named_modules()}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_selection_changes_no_batch_statistics():
    model = HVSAlgorithm(resnet_dino(neck={'use_bn': True}), [2, 2, 4], [1, 1, 2])
    before = full_state(model)
    model.select_views(candidate_crops((2, 2, 4)))
    assert_same_state(before, full_state(model))
    # The counterpart: training moves them, also the teacher's own.
    model.loss(candidate_crops((2, 2, 4)))
    moved = {key for key, value in full_state(model).items() if not value.equal(before[key])}
    assert 'head.center' in moved
    assert 'teacher.backbone.bn1.running_mean' in moved
    assert 'teacher.neck.mlp.1.running_mean' in moved
    assert not any('weight' in key for key in moved)


def train(model, counts, num_steps=5, cls=OptimWrapper, **kwargs):
    wrapper = optim_wrapper(model, cls, **kwargs)
    wrapper.initialize_count_status(model, 0, num_steps)
    logs = []
    for step in range(num_steps):
        with torch.random.fork_rng():
            torch.manual_seed(100 + step)
            views = candidate_crops(counts, 4)
            samples = random_samples(4, sum(counts[:2]))
        logs.append(model.train_step({'inputs': views, 'data_samples': samples}, wrapper))
        model.update_teacher(0.1)
    return logs


@pytest.mark.parametrize(
    ('name', 'counts'),
    [*((n, c) for n in METHODS for c in ([1, 1, 2], [1, 1])), ('DINOv2', [1, 1, 2])],
)
@pytest.mark.parametrize('selector', ['hardest', 'random'])
def test_keeping_all_candidates_is_the_baseline(name, counts, selector):
    """Same losses and weights, bit for bit, also with dropped paths."""
    baseline = build_dino(name, num_crops=sum(counts), drop_path=0.1)
    model = HVSAlgorithm(deepcopy(baseline), counts, counts, selector=selector)
    start = full_state(baseline)
    torch.manual_seed(3)
    expected = train(baseline, counts)
    torch.manual_seed(3)
    logs = train(model, counts)
    for log, baseline_log in zip(logs, expected):
        assert torch.equal(log['loss'], baseline_log['loss'])
    assert_same_state(full_state(baseline), full_state(model))
    assert not full_state(model)['teacher.backbone.pos_embed'].equal(
        start['teacher.backbone.pos_embed']
    )


def test_keeping_all_candidates_is_the_baseline_with_batch_norm():
    """Nothing is reused, and the statistics of both networks are the baseline's."""
    baseline = resnet_dino(neck={'use_bn': True})
    model = HVSAlgorithm(deepcopy(baseline), [1, 1, 2], [1, 1, 2])
    expected, logs = (train(m, [1, 1, 2], accumulative_counts=2) for m in (baseline, model))
    assert [log['loss'].item() for log in logs] == [log['loss'].item() for log in expected]
    assert_same_state(full_state(baseline), full_state(model))


@pytest.mark.parametrize('name', METHODS)
def test_selection_has_an_effect(name):
    """The counterpart of the tests above: with more candidates the weights differ."""
    baseline = build_dino(name)
    model = HVSAlgorithm(deepcopy(baseline), [2, 2, 4], [1, 1, 2])
    train(baseline, [1, 1, 2], 2)
    train(model, [2, 2, 4], 2)
    assert not torch.allclose(model.neck.mlp[0].weight, baseline.neck.mlp[0].weight)


# --- Reuse of the teacher's outputs ----------------------------------------------------------


def without_reuse(model):
    """A copy that computes the teacher's outputs again."""
    twin = deepcopy(model)
    cls = type(twin.algorithm)
    twin.algorithm.__class__ = type(
        cls.__name__, (cls,), {'teacher_is_per_sample': property(lambda self: False)}
    )
    return twin


@pytest.mark.parametrize(
    ('name', 'candidates', 'keep'), [*SETTINGS, ('DINOv2', [2, 2, 4], [1, 1, 2])]
)
@pytest.mark.parametrize('drop_path', [0.0, 0.1])
def test_reused_outputs_give_the_same_step(name, candidates, keep, drop_path):
    """Loss, gradients, centers and weights; the teacher runs once, on all candidates."""
    model = build_hvs_dino(name, candidates, keep, drop_path=drop_path)
    twin = without_reuse(model)
    num_global = sum(candidates[:2])
    views, samples = candidate_crops(candidates), random_samples(3, num_global)
    steps = []
    for each in (model, twin):
        wrapper = optim_wrapper(each)
        with recorded(each.teacher['backbone'], each.backbone) as (teacher, student):
            torch.manual_seed(5)
            losses = each.loss(views, samples)
        losses['loss'].backward()
        wrapper.optimizer.step()
        steps.append((losses, teacher, student))
    (losses, calls, student), (expected, calls_without, _) = steps
    assert calls == [(3 * num_global, 3, GLOBAL, GLOBAL)]
    assert calls_without == [*calls, (6, 3, GLOBAL, GLOBAL)]
    # The student has to run again, with gradient.
    assert len(student) == 2 * len(candidates) - 2
    assert model.last_selection.indices.equal(twin.last_selection.indices)
    torch.testing.assert_close(losses['loss'], expected['loss'], rtol=1e-6, atol=1e-6)
    other = dict(twin.named_parameters())
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, key
            torch.testing.assert_close(
                parameter.grad, other[key].grad, rtol=1e-4, atol=1e-6, msg=key
            )
    for key, value in full_state(twin).items():
        torch.testing.assert_close(full_state(model)[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_reused_outputs_are_not_those_of_another_view():
    """The outputs of every sample's own kept views, in their order."""
    model = build_hvs_dino()
    views, seen = candidate_crops((2, 2, 4), 6), {}
    loss = model.algorithm.loss

    def spy(inputs, data_samples=None, teacher_logits=None):
        seen.update(inputs=inputs, logits=teacher_logits)
        return loss(inputs, data_samples, teacher_logits)

    model.algorithm.loss = spy
    model.loss(views)
    assert len(set(map(tuple, model.last_selection.indices[:, :2].tolist()))) > 1
    with torch.no_grad():
        expected = model.algorithm.teacher_logits(seen['inputs'][:2])
    torch.testing.assert_close(seen['logits'], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', ['resnet', 'neck'])
def test_nothing_is_reused_with_batch_norm(case):
    """Its outputs depend on the batch, which is another one in the training step."""
    algorithm = resnet_dino() if case == 'resnet' else build_dino(neck={'use_bn': True})
    model = HVSAlgorithm(algorithm, [2, 2, 4], [1, 1, 2])
    assert not model.algorithm.teacher_is_per_sample
    views = candidate_crops((2, 2, 4))
    with recorded(model.teacher['backbone']) as (calls,):
        model.loss(views)
    assert calls == [(12, 3, GLOBAL, GLOBAL), (6, 3, GLOBAL, GLOBAL)]
    # Running statistics do not depend on it.
    model.teacher.eval()
    assert model.algorithm.teacher_is_per_sample


def test_what_depends_on_chance_is_not_reused():
    assert build_dino().teacher_is_per_sample
    assert not build_dino(backbone={'drop_rate': 0.1}).teacher_is_per_sample


def test_dropped_attention_is_not_reused():
    """MMPretrain drops attention with a function, not with a module."""
    algorithm = build_dino(backbone={'layer_cfgs': {'attn_drop_rate': 0.5}})
    view = torch.randn(2, 3, GLOBAL, GLOBAL)
    first, second = (algorithm.teacher['backbone'](view)[-1] for _ in range(2))
    assert not torch.equal(first, second)
    assert not algorithm.teacher_is_per_sample


# --- Mixed precision -------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_bfloat16_step(name):
    model = build_hvs_dino(name)
    before = full_state(model)
    wrapper = optim_wrapper(model, AutocastOptimWrapper)
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    log = model.train_step({'inputs': views, 'data_samples': samples}, wrapper)
    assert log['loss'].isfinite()
    assert model.last_selection.pair_loss.dtype == torch.float32
    assert model.last_selection.score.dtype == torch.float32
    for key, value in full_state(model).items():
        assert value.dtype == torch.float32
        rests = key.startswith('teacher.') or key.endswith(('weight_g', '_sum', '_count'))
        assert value.equal(before[key]) == rests, key


@pytest.mark.parametrize('name', METHODS)
def test_gradients_under_autocast_are_those_of_the_kept_views(name):
    """Autocast's cache of weights must not cut the graph."""
    model = build_hvs_dino(name)
    twin, start = deepcopy(model.algorithm), deepcopy(model)
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    wrapper = optim_wrapper(model, AutocastOptimWrapper)
    with wrapper.optim_context(model):
        losses = model.loss(views, samples)
    losses['loss'].backward()
    indices = model.last_selection.indices
    arguments = {}
    if name == 'IBOT':
        masks = torch.from_numpy(np.stack([sample.view_masks for sample in samples]))
        arguments['masks'] = masks[torch.arange(3)[:, None], indices[:, :2]]
    with wrapper.optim_context(twin):
        expected = twin.loss(start.gather(views, indices), **arguments)['loss']
    expected.backward()
    torch.testing.assert_close(losses['loss'], expected, rtol=1e-2, atol=1e-2)
    for key, parameter in twin.named_parameters():
        if parameter.requires_grad:
            gradient = model.get_parameter(key).grad
            similarity = torch.cosine_similarity(gradient.flatten(), parameter.grad.flatten(), 0)
            assert similarity > 0.98, key


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize(('candidates', 'keep'), [([2, 2, 4], [1, 1, 3]), ([2, 2], [1, 1])])
def test_keep_that_does_not_match_the_head(name, candidates, keep):
    with pytest.raises(ValueError, match=r'keep=\[1, 1.*keeps \d views.*num_crops=4'):
        HVSAlgorithm(dino_config(name, num_crops=4), candidates, keep)


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('num_local', [0, 1, 3])
def test_another_number_of_views(name, num_local):
    message = rf'{name} got {2 + num_local} views, but its head is for num_crops=4'
    with pytest.raises(ValueError, match=message):
        build_dino(name).loss(crops(2, num_local), random_samples(3, 2))


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('sides', [(GLOBAL + 4, LOCAL), (GLOBAL, LOCAL + 3)])
@pytest.mark.parametrize('wrapped', [False, True])
def test_size_that_is_no_multiple_of_the_patch(name, sides, wrapped):
    """Upstream's patch embedding would pad such views with zeros, and say nothing."""
    model = build_dino(name)
    if wrapped:
        model = HVSAlgorithm(model, [1, 1, 2], [1, 1, 2])
    views = [torch.randn(3, 3, side, side) for side in (sides[0], sides[0], sides[1], sides[1])]
    with pytest.raises(ValueError, match=rf'patch.*{PATCH}|multiple of'):
        model.loss(views, random_samples(3, 2))


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'student_temp': 0}, 'student_temp=0 must be positive'),
        ({'student_temp': math.nan}, 'student_temp=nan must be positive and finite'),
        ({'teacher_temp': math.inf}, 'teacher_temp=inf must be positive and finite'),
        ({'teacher_temp': -0.04}, 'teacher_temp=-0.04 must be positive'),
        ({'warmup_teacher_temp': 0.0}, 'warmup_teacher_temp=0.0 must be positive'),
        ({'num_crops': 1}, 'num_crops=1 must be an integer of at least 2'),
        ({'warmup_teacher_temp_epochs': -1}, 'warmup_teacher_temp_epochs=-1'),
        ({'center_momentum': 1.1}, 'center_momentum=1.1'),
    ],
)
def test_wrong_settings_of_the_head(setting, message):
    with pytest.raises(ValueError, match=message):
        DINOHead(PROTOTYPES, **setting)


def test_wrong_settings_of_the_neck():
    with pytest.raises(ValueError, match='num_layers=0 must be an integer of at least 1'):
        DINONeck(32, num_layers=0)


@pytest.mark.parametrize('name', METHODS)
def test_head_and_neck_of_different_size(name):
    """Found when the algorithm is built, not as a shape error in the first step."""
    with pytest.raises(ValueError, match='out_channels'):
        MODELS.build(dino_config(name, head={'out_channels': PROTOTYPES // 2}))


@pytest.mark.parametrize(
    ('name', 'part', 'config', 'message'),
    [
        (
            'DINO',
            'neck',
            {'type': 'NonLinearNeck', 'in_channels': 32, 'hid_channels': 8, 'out_channels': 8},
            "neck of DINO must be of type DINONeck, not NonLinearNeck: set type='DINONeck'",
        ),
        ('DINO', 'neck', dino_config('IBOT')['neck'], 'must be of type DINONeck, not IBOTNeck'),
        ('DINO', 'head', dino_config('IBOT')['head'], 'must be of type DINOHead, not IBOTHead'),
        ('DINO', 'head', None, 'head of DINO must be of type DINOHead, not NoneType'),
        (
            'DINO',
            'backbone',
            {**dino_config()['backbone'], 'out_type': 'raw'},
            "backbone of DINO is a VisionTransformer with out_type='raw'.*'cls_token'",
        ),
        (
            'DINO',
            'backbone',
            dino_config('IBOT')['backbone'],
            "is a MaskedVisionTransformer with out_type='raw'.*type='VisionTransformer'",
        ),
        (
            'IBOT',
            'neck',
            dino_config()['neck'],
            'must be of type IBOTNeck, not DINONeck',
        ),
        (
            'IBOT',
            'head',
            dino_config()['head'],
            'must be of type IBOTHead, not DINOHead',
        ),
        ('IBOT', 'backbone', RESNET, 'must be of type MaskedVisionTransformer, not ResNet'),
    ],
)
def test_parts_that_do_not_fit(name, part, config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({**dino_config(name), part: config})


@pytest.mark.parametrize('name', METHODS)
def test_target_groups_that_the_algorithm_does_not_share(name):
    """The algorithm takes all crops of the first one's size for global.

    With other target groups the score would be that of another loss.
    """
    model = HVSAlgorithm(build_dino(name), [1, 1, 2], [1, 1, 2], target_groups=[0])
    message = rf'^1 views are targets, but {name} takes the 2 .* correct target_groups'
    with pytest.raises(ViewsError, match=message):
        model.loss(candidate_crops((1, 1, 2)), random_samples(3, 2))


# --- Epochs ----------------------------------------------------------------------------------


def test_temperature_of_the_epoch_enters_the_loss():
    algorithm = build_dino(
        head={
            'teacher_temp': 0.07,
            'warmup_teacher_temp': 0.04,
            'warmup_teacher_temp_epochs': 3,
        }
    )
    views = crops(2, 2)
    losses = []
    for epoch, temperature in [(0, 0.04), (1, 0.055), (2, 0.07), (9, 0.07)]:
        twin = build_dino(head={'teacher_temp': temperature, 'warmup_teacher_temp': temperature})
        twin.load_state_dict(algorithm.state_dict())
        with epoch_of_run(epoch, 10):
            losses.append(deepcopy(algorithm).loss(views)['loss'])
        torch.testing.assert_close(losses[-1], twin.loss(views)['loss'])
    assert not torch.allclose(losses[0], losses[1])
