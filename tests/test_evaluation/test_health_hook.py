"""``HealthHook`` in real runs."""

from __future__ import annotations

import json
import random
import re
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import HOOKS, MODELS
from mmpretrain.structures import DataSample

from hvs_mm.evaluation import find_problems, measure_health
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import METHODS, algorithm_config, build_algorithm, build_hvs
from tests.helpers.tiny_dino import RESNET, build_dino, build_runner, dino_config

HOOK = dict(type='HealthHook')
EAGER = dict(HOOK, warn_after=0)
TEACHER = dict(type='TeacherHook', momentum=0.3)
ALL = {'feature_rank', 'feature_std', 'feature_dim', 'images', 'projection_rank', 'projection_std',
       'projection_dim', 'uniformity', 'alignment', 'weight_change'}  # fmt: skip
OF_TEACHER = {'teacher_entropy', 'teacher_mean_entropy', 'teacher_information',
              'student_information', 'prototypes'}  # fmt: skip


def hvs(algorithm, candidates=(3,), keep=(2,)):
    return dict(
        type='HVSAlgorithm', algorithm=algorithm, candidates=list(candidates), keep=list(keep)
    )


def train(work_dir, model, hooks=(HOOK,), **kwargs):
    """Train with the hooks; the view counts are those of the model."""
    hooks = list(hooks)
    inner = model.get('algorithm', model)
    if inner['type'] in ('DINO', 'IBOT'):
        hooks.append(TEACHER)
    else:
        kwargs['num_views'] = model.get('candidates', [2])
    kwargs = {'batch_size': 4, 'num_batches': 3, **kwargs}
    runner = build_runner(work_dir, model, hooks=hooks, **kwargs)
    runner.train()
    return runner


def entries(work_dir, prefix='health/'):
    """What the hook wrote into the JSON log, or what training wrote."""
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for entry in lines if any(key.startswith(prefix) for key in entry)]


def log_of(runner):
    return (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()


# --- What is measured ------------------------------------------------------------------------


def batch_of(views):
    samples = [DataSample() for _ in views[0]]
    return dict(inputs=list(views), data_samples=samples)


@pytest.mark.parametrize('name', METHODS)
def test_the_numbers_of_pair_methods(name):
    model = build_algorithm(name).train()
    views = [torch.randn(6, 3, 32, 32) for _ in range(4)]
    found = measure_health(model, [batch_of(views)])
    with torch.no_grad():
        features = model.backbone(views[0])[0].mean((2, 3))
        # SwAV's neck takes a list of outputs, of views of several sizes.
        first, last = (
            model.neck([model.backbone(view)])
            if name == 'SwAV'
            else model.neck(model.backbone(view))[0]
            for view in (views[0], views[3])
        )
    p = np.linalg.svd(features.double().numpy(), compute_uv=False)
    p /= p.sum()
    assert found['feature_rank'] == pytest.approx(exp(-(p * np.log(p)).sum()), rel=1e-4)
    cosine = torch.nn.functional.cosine_similarity(first, last).mean().item()
    assert found['alignment'] == pytest.approx(2 - 2 * cosine, abs=1e-5)
    assert (found['images'], found['feature_dim'], found['projection_dim']) == (6, 64, 16)
    assert set(found) == ALL - {'weight_change'}


@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
def test_the_numbers_of_a_teacher(name):
    model = build_dino(name, drop_path=0.5).train()
    views = [torch.randn(6, 3, side, side) for side in (32, 32, 16, 16)]
    torch.manual_seed(1)
    found = measure_health(model, [batch_of(views)])
    assert set(found) == (ALL | OF_TEACHER) - {'weight_change'}
    with torch.no_grad():
        logits = model.teacher_logits(views[:1])[:, 0]
        teacher = ((logits - model.head.center) / 0.04).softmax(-1).double()
        # All views, with the stochastic depth of a step.
        torch.manual_seed(1)
        student = (model.student_logits(views) / 0.1).softmax(-1).double().flatten(0, 1)

    def entropy(p):
        return -(p * p.log()).sum(-1)

    assert found['teacher_entropy'] == pytest.approx((entropy(teacher).mean() / log(64)).item())
    assert found['teacher_mean_entropy'] == pytest.approx(
        (entropy(teacher.mean(0)) / log(64)).item()
    )
    information = entropy(student.mean(0)) - entropy(student).mean()
    assert found['student_information'] == pytest.approx(information.item(), rel=1e-4)


def test_the_number_of_images():
    model = build_algorithm('SimSiam')
    batches = [batch_of([torch.randn(8, 3, 16, 16)]) for _ in range(3)]
    # Without a second view there is no alignment.
    found = measure_health(model, batches, 20)
    assert found['images'] == 20
    assert 'alignment' not in found
    assert measure_health(model, batches, 100)['images'] == 24
    assert measure_health(model, []) == {}


def test_views_that_are_not_selected_count_alike():
    """The same numbers with and without selection: the first and the last target view."""
    model = build_hvs('SimSiam')
    views = [torch.randn(5, 3, 32, 32) for _ in range(4)]
    found = measure_health(model, [batch_of(views)])
    assert found == measure_health(model.algorithm, [batch_of([views[0], views[3]])])


# --- What is logged --------------------------------------------------------------------------


def test_entries_of_every_epoch(tmp_path):
    runner = train(tmp_path, dino_config(), num_batches=5, log_level='INFO')
    found = entries(tmp_path)
    names = {f'health/{name}' for name in ALL | OF_TEACHER}
    assert all(set(entry) == names | {'epoch', 'iter', 'step'} for entry in found)
    assert [(entry['epoch'], entry['iter'], entry['step']) for entry in found] == [
        (1, 5, 5), (2, 10, 10),
    ]  # fmt: skip
    # The whole of such a short epoch.
    assert [entry['health/images'] for entry in found] == [20, 20]
    # A name without numbers would make MMEngine warn when the run is resumed.
    hub = runner.message_hub.state_dict()
    kept = {*hub['log_scalars'], *hub['runtime_info']}
    assert not any('health' in name for name in hub['resumed_keys'].keys() - kept)
    text = log_of(runner)
    assert f'health after epoch 2  feature_rank: {found[1]["health/feature_rank"]:.4g}  ' in text
    assert not any('health' in line for line in text.splitlines() if 'Epoch(train)' in line)


@pytest.mark.parametrize(
    ('batch_size', 'num_batches', 'images'), [(2, 1, 2), (8, 70, 70), (64, 2, 64)]
)
def test_the_share_of_an_epoch(tmp_path, batch_size, num_batches, images):
    """An eighth, at least 64, and no more than there are."""
    model = algorithm_config('SimSiam', norm=dict(type='GN', num_groups=2))
    sizes = dict(batch_size=batch_size, num_batches=num_batches, max_epochs=1)
    train(tmp_path, model, **sizes)
    (entry,) = entries(tmp_path)
    assert entry['health/images'] == images


def test_a_run_that_counts_iterations(tmp_path):
    config = dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=8),
        log_processor=dict(by_epoch=False),
    )
    train(tmp_path, algorithm_config('SimSiam'), num_batches=3, **config)
    found = entries(tmp_path)
    # After every pass over the data, and at the end.
    assert [entry['iter'] for entry in found] == [entry['step'] for entry in found] == [3, 6, 8]
    assert [entry['health/images'] for entry in found] == [12, 12, 8]
    assert all('epoch' not in entry for entry in found)


def test_a_run_that_ends_within_an_epoch(tmp_path):
    loop = dict(type='ResumableEpochLoop', max_epochs=2, max_iters=8)
    hook = dict(HOOK, num_images=4)
    train(tmp_path, algorithm_config('SimSiam'), [hook], num_batches=6, train_cfg=loop)
    assert [entry['iter'] for entry in entries(tmp_path)] == [6, 8]
    assert [entry['health/images'] for entry in entries(tmp_path)] == [4, 4]


# --- What it leaves alone --------------------------------------------------------------------

MODELS_TO_TRAIN = {
    'SimSiam': algorithm_config('SimSiam'),
    'HVS SimSiam': hvs(algorithm_config('SimSiam')),
    'SimCLR': algorithm_config('SimCLR'),
    'HVS SimCLR': hvs(algorithm_config('SimCLR')),
    'BYOL': algorithm_config('BYOL'),
    'HVS BYOL': hvs(algorithm_config('BYOL')),
    'DINO': dino_config(drop_path=0.5),
    'DINO with BatchNorm': dino_config(backbone=RESNET, neck=dict(in_channels=64, use_bn=True)),
    'HVS DINO': hvs(dino_config(num_crops=3, drop_path=0.5), [2, 2], [1, 2]),
    'IBOT': dino_config('IBOT', drop_path=0.5),
    'HVS IBOT': hvs(dino_config('IBOT', num_crops=3), [2, 2], [1, 2]),
}
BFLOAT16 = dict(type='AutocastOptimWrapper')


def fingerprint(runner, work_dir):
    numpy_state = np.random.get_state()
    losses = [entry['loss'] for entry in entries(work_dir, 'loss')]
    return {
        **runner.model.state_dict(),
        'modes': torch.tensor([m.training for m in runner.model.modules()]),
        'random numbers': torch.get_rng_state(),
        'random numbers of NumPy': torch.tensor([*map(int, numpy_state[1]), numpy_state[2]]),
        'random numbers of Python': torch.tensor(random.getstate()[1]),
        'losses': torch.tensor(losses, dtype=torch.float64),
    }


@pytest.mark.parametrize(
    ('name', 'config'),
    [*((name, {}) for name in MODELS_TO_TRAIN), ('HVS SimSiam', BFLOAT16), ('DINO', BFLOAT16)],
)
def test_training_is_the_same_bit_for_bit(tmp_path, name, config):
    optim_wrapper = config and dict(config, optimizer=dict(type='SGD', lr=0.01))
    found = []
    for folder, hooks in (('without', []), ('with', [HOOK])):
        random.seed(0)
        runner = train(
            tmp_path / folder,
            MODELS_TO_TRAIN[name],
            hooks,
            optim_wrapper=optim_wrapper,
            default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1)),
        )
        found.append(fingerprint(runner, tmp_path / folder))
    assert len(entries(tmp_path / 'with')) == 2
    assert found[0].keys() == found[1].keys()
    assert len(found[0]['losses']) == 6
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key


# --- In several processes --------------------------------------------------------------------


def _measure_a_rank(rank, folder):
    found = {}
    for name, model in (('SimSiam', build_algorithm('SimSiam')), ('DINO', build_dino())):
        torch.manual_seed(0)
        views = [torch.randn(8, 3, 32, 32) for _ in range(4)]
        # The first process has 4 images, the other one 3 and another batch.
        own = [view[:4] if rank == 0 else view[4:7] for view in views]
        batches = [batch_of(own), batch_of(own)][: 1 + rank]
        found[name] = measure_health(model.eval(), batches)
    (folder / f'{rank}.json').write_text(json.dumps(found))


def test_processes_agree_with_a_single_one(tmp_path):
    run_ranks(_measure_a_rank, 2, tmp_path, tmp_path)
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1))
    assert first == second
    torch.manual_seed(0)
    for name, model in (('SimSiam', build_algorithm('SimSiam')), ('DINO', build_dino())):
        torch.manual_seed(0)
        views = [torch.randn(8, 3, 32, 32) for _ in range(4)]
        rows = [0, 1, 2, 4, 5, 6]
        alone = measure_health(model.eval(), [batch_of([view[rows] for view in views])])
        shared = set(alone) - OF_TEACHER
        assert {key: first[name][key] for key in shared} == pytest.approx(
            {key: alone[key] for key in shared}, rel=1e-4
        )


# --- Warnings --------------------------------------------------------------------------------

HEALTHY = dict(
    feature_rank=20.0, feature_std=0.4, feature_dim=64, projection_rank=40.0, projection_std=0.9,
    projection_dim=256, uniformity=-2.0, alignment=0.5, images=512, weight_change=0.1,
)  # fmt: skip
TEACHERS = dict(HEALTHY, teacher_information=2.0, student_information=0.02, prototypes=256)


@pytest.mark.parametrize(
    ('change', 'name', 'message'),
    [
        (dict(feature_std=0.001), 'features', 'the features have collapsed.*spread 0.001 of 1'),
        (dict(feature_rank=1.05), 'features', 'effective rank 1.1 of 64.*lower learning rate'),
        (dict(projection_std=0.01), 'projections', 'spread 0.010 of 1'),
        (dict(projection_rank=1.9), 'projections', 'the projections have collapsed.*1.9 of 256'),
        (dict(projection_rank=4.9), 'projections', 'lower learning rate or a longer warm-up'),
        (dict(projection_rank=1.9, projection_dim=64), 'projections', '1.9 of 64'),
        (
            dict(TEACHERS, teacher_information=0.01),
            'teacher',
            r'0.010 of at most 5.55 nats.*teacher_temp',
        ),
        (
            dict(TEACHERS, student_information=0.0027),
            'student',
            r'0.0027 of at most 5.55 nats.*less hard views',
        ),
        (dict(weight_change=1e-7), 'learning', 'stopped learning.*1e-07, at a learning rate of 1'),
        (dict(feature_rank=float('nan')), 'not finite', 'NaN or infinite: lower the learning'),
    ],
)
def test_what_is_a_problem(change, name, message):
    (found,) = find_problems({**HEALTHY, **change}).items()
    assert found[0] == name
    assert re.search(message, found[1])
    assert '\n' not in found[1]


def test_what_is_no_problem():
    assert find_problems(HEALTHY) == {}
    assert find_problems({**HEALTHY, 'projection_rank': 2.1, 'projection_dim': 64}) == {}
    # As measured in the first epochs of the demo of DINO: the neck magnifies the differences.
    assert find_problems({**TEACHERS, 'feature_std': 0.03, 'feature_rank': 1.1}) == {}
    assert find_problems({**TEACHERS, 'student_information': 0.003}) == {}
    # A schedule that ends at zero.
    assert find_problems({**HEALTHY, 'weight_change': 0.0}, rate=0.001, largest_rate=0.1) == {}
    features_only = {k: v for k, v in HEALTHY.items() if k.startswith(('feature', 'images'))}
    assert find_problems(features_only) == {}


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL'])
def test_an_untrained_network_is_none(name):
    model = build_algorithm(name)
    views = [torch.rand(64, 3, 32, 32) for _ in range(2)]
    assert find_problems(measure_health(model.train(), [batch_of(views)])) == {}


class Flatten(Hook):
    """Makes the network give all images one feature, from the second of four epochs on."""

    priority = 'HIGH'

    def after_train_epoch(self, runner):
        if runner.epoch >= 1:
            with torch.no_grad():
                for parameter in runner.model.backbone.parameters():
                    parameter.zero_()


def warnings_of(runner):
    return [line for line in log_of(runner).splitlines() if ' WARNING ' in line]


def test_it_warns_once(tmp_path):
    sizes = dict(num_batches=4, max_epochs=4, log_level='INFO')
    kwargs = dict(num_views=[2], batch_size=4, hooks=[EAGER], **sizes)
    runner = build_runner(tmp_path, algorithm_config('SimSiam'), **kwargs)
    runner.register_hook(Flatten())
    runner.train()
    lines = [line for line in warnings_of(runner) if 'collapsed' in line]
    assert len(lines) == 2
    assert any('epoch 2: the features have collapsed' in line for line in lines)
    assert any('epoch 2: the projections have collapsed' in line for line in lines)


def test_a_learning_rate_of_zero(tmp_path):
    optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.0))
    model = algorithm_config('SimSiam')
    kwargs = dict(optim_wrapper=optim_wrapper, max_epochs=3, log_level='INFO')
    runner = train(tmp_path, model, [EAGER], **kwargs)
    (line,) = [line for line in warnings_of(runner) if 'stopped learning' in line]
    assert 'epoch 2: the network has stopped learning' in line
    assert entries(tmp_path)[0]['health/weight_change'] == 0


@pytest.mark.parametrize(('warn_after', 'warned'), [(1, True), (2, False)])
def test_outputs_are_given_ten_times_as_long(tmp_path, warn_after, warned):
    hook = dict(HOOK, warn_after=warn_after)
    sizes = dict(batch_size=4, num_batches=4, max_epochs=4, log_level='INFO')
    runner = build_runner(tmp_path, dino_config(), hooks=[hook, TEACHER], **sizes)
    runner.register_hook(FlattenBoth())
    runner.train()
    for problem in ("the teacher's outputs have collapsed", "the student's outputs hardly differ"):
        lines = [line for line in warnings_of(runner) if problem in line]
        assert len(lines) == warned
        assert all('epoch 3' in line for line in lines)


class FlattenBoth(Hook):
    priority = 'HIGH'

    def after_train_epoch(self, runner):
        with torch.no_grad():
            for backbone in (runner.model.teacher['backbone'], runner.model.backbone):
                for parameter in backbone.parameters():
                    parameter.zero_()


class Spoil(Hook):
    priority = 'HIGH'

    def after_train_epoch(self, runner):
        with torch.no_grad():
            next(runner.model.parameters()).fill_(float('nan'))


def test_a_network_that_diverges(tmp_path):
    kwargs = dict(num_views=[2], batch_size=4, max_epochs=3, hooks=[EAGER], log_level='INFO')
    runner = build_runner(tmp_path, algorithm_config('SimSiam'), **kwargs)
    runner.register_hook(Spoil())
    runner.train()
    (line,) = [line for line in warnings_of(runner) if 'health' in line or 'features' in line]
    assert 'epoch 2: some features are NaN or infinite' in line


def test_a_healthy_run_has_no_warning(tmp_path):
    pairs = {n: m for n, m in MODELS_TO_TRAIN.items() if n.endswith(('SimSiam', 'SimCLR', 'BYOL'))}
    for name, model in pairs.items():
        sizes = dict(batch_size=8, num_batches=4, max_epochs=3, log_level='INFO')
        optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
        runner = train(tmp_path / name, model, [EAGER], optim_wrapper=optim_wrapper, **sizes)
        assert not [line for line in warnings_of(runner) if 'epoch ' in line], name


# --- What it does not measure ----------------------------------------------------------------


def test_other_methods_train_without_it(tmp_path):
    """A method without a pair loss; a classifier is none of its business either."""

    @MODELS.register_module(force=True)
    class Unknown(BaseSelfSupervisor):
        def loss(self, inputs, data_samples):
            return {'loss': self.neck(self.backbone(inputs[0]))[0].square().mean()}

    model = {**algorithm_config('SimSiam'), 'type': 'Unknown', 'head': None}
    runner = train(tmp_path, model, max_epochs=1, log_level='INFO')
    assert not entries(tmp_path)
    assert 'HealthHook does not measure this run: it knows BYOL, BarlowTwins,' in log_of(runner)


@pytest.mark.parametrize('value', [0, 1, 2.5, '3'])
def test_wrong_settings(value):
    with pytest.raises(
        ValueError, match='warn_after=-1 must be an integer of at least 0: the iter'
    ):
        HOOKS.build(dict(HOOK, warn_after=-1))
    with pytest.raises(ValueError, match=r'num_images=.* must be an integer of at least 2: the im'):
        HOOKS.build(dict(HOOK, num_images=value))
