"""torch.compile, channels_last and fused optimizers around hard view selection."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import pytest
import torch
from torch._dynamo.utils import counters

from hvs_mm.models import HVSAlgorithm
from tests.helpers.tiny import algorithm_config, build_hvs, random_views
from tests.helpers.tiny_dino import (
    build_hvs_dino,
    build_runner,
    candidate_crops,
    dino_config,
    random_samples,
)

METHODS = ['SimSiam', 'SimCLR', 'BYOL', 'DINO', 'IBOT']
#: Graph breaks in upstream's own losses, with or without selection.
UPSTREAM = {'SimCLR': 'aten.masked_select', 'BYOL': 'ata-dependent branching|control flow'}
#: Messages of torch 2.10 and 2.5 about functions that are left to Python on purpose.
ON_PURPOSE = ('torch.compiler.disable', '_dynamo.disable')
#: torch 2.5 cannot look into functions that these decorate.
OLD_TORCH = torch.__version__ < '2.6'


def build(name):
    torch.manual_seed(0)
    if name in ('DINO', 'IBOT'):
        # NumPy's numbers in the rates of stochastic depth, as upstream gives them.
        model = build_hvs_dino(name, drop_path=0.1)
        return model, candidate_crops((2, 2, 4)), random_samples(3, 4)
    return build_hvs(name), random_views(), None


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


# Graphs are Dynamo's, whatever the backend. One method has the gradients of AOTAutograd, too.
@pytest.mark.parametrize(
    ('name', 'backend'),
    [
        ('DINO', 'eager'),
        pytest.param('DINO', 'aot_eager', marks=pytest.mark.slow),
        *(pytest.param(n, 'eager', marks=pytest.mark.slow) for n in METHODS if n != 'DINO'),
    ],
)
def test_a_compiled_step(name, backend):
    """The same loss and gradients; graphs end only where the step reads values of the host."""
    model, views, samples = build(name)
    expected_model = deepcopy(model)
    torch.manual_seed(1)
    expected = expected_model.loss(views, samples)
    compiled = torch.compile(lambda: model.loss(views, samples), backend=backend)
    torch.manual_seed(1)
    ours = compiled()
    torch.testing.assert_close(ours['loss'], expected['loss'], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours['hvs_score'], expected['hvs_score'], rtol=1e-4, atol=1e-5)
    indices = expected_model.last_selection.indices
    assert torch.equal(model.last_selection.indices, indices)
    ours['loss'].backward()
    expected['loss'].backward()
    for mine, theirs in zip(model.parameters(), expected_model.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    assert counters['stats']['unique_graphs'] > 3
    if not OLD_TORCH:
        for reason in counters['graph_break']:
            allowed = (*ON_PURPOSE, *UPSTREAM.get(name, '\0').split('|'))
            assert any(text in reason for text in allowed), reason


@pytest.mark.slow
@pytest.mark.parametrize(
    'options',
    [
        {'selection_pass': {'scale': 0.5}},
        {'selection_pass': {'tokens': 0.5}},
        {'selection_pass': {'dtype': 'bfloat16'}},
        {'selection_pass': {'online': 'local'}},
        {'schedule': {'prob': 0.5}},
        {'guard': {}},
    ],
)
def test_a_compiled_step_that_selects_for_less(options):
    plain, views, _ = build('DINO')
    model = HVSAlgorithm(plain.algorithm, plain.candidates, plain.keep, **options)
    expected_model = deepcopy(model)
    # As users write it: a bound method.
    compiled = torch.compile(model.loss, backend='eager')
    for step in range(3):
        torch.manual_seed(step)
        expected = expected_model.loss(views)
        torch.manual_seed(step)
        ours = compiled(views)
        torch.testing.assert_close(ours['loss'], expected['loss'], rtol=1e-3, atol=1e-4)
    if not OLD_TORCH:
        for reason in counters['graph_break']:
            assert any(text in reason for text in ON_PURPOSE), reason
    assert not counters['frames'].get('recompile_limit')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'stage'),
    [
        *product(METHODS, ['forward', 'pair_loss']),
        # One code for all methods; only iBOT's scores have a diagonal.
        *product(['DINO', 'IBOT'], ['pick']),
        ('DINO', 'gather'),
    ],
)
@pytest.mark.skipif(
    OLD_TORCH, reason='torch 2.5 ends graphs at decorators of MMCV: runs on the default stack'
)
def test_every_stage_is_one_graph(name, stage):
    model, views, samples = build(name)
    algorithm, pair_loss, groups = model.algorithm, model.pair_loss, model.groups(views)
    with torch.no_grad():
        extras = pair_loss.target_inputs(algorithm, views, groups.num_targets, samples)
        outputs = pair_loss.forward(algorithm, views, groups.num_targets, **extras)
        losses = pair_loss.form(algorithm, outputs)
        indices = model.selector(losses, groups, model.selection_pass.weights).indices
    if stage == 'forward' and name == 'IBOT':
        masks = extras['masks'].transpose(0, 1).flatten(0, 1)
        rows, patches = torch.tensor([0, 5, 7]), torch.tensor([3, 2, 1])

        def work():
            student = algorithm._student_outputs(views, 4, masks, rows, patches)
            return student, algorithm._teacher_outputs(views[:4], rows, patches)
    elif stage == 'pair_loss' and name in ('DINO', 'IBOT'):
        from hvs_mm.losses import dino_pair_loss

        student, teacher = torch.randn(3, 8, 64), torch.randn(3, 4, 64)

        def work():
            # With the temperature of the epoch, which Python looks up.
            return dino_pair_loss(student, teacher, algorithm.head.center, 0.1, 0.04)
    else:
        work = {
            'forward': lambda: pair_loss.forward(algorithm, views, groups.num_targets, **extras),
            'pair_loss': lambda: pair_loss.form(algorithm, outputs),
            'pick': lambda: model.selector(losses, groups, model.selection_pass.weights).indices,
            'gather': lambda: model.gather(views, indices),
        }[stage]
    with torch.no_grad():
        # Raises at anything that would end the graph.
        torch.compile(work, fullgraph=True, backend='eager')()


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL'])
def test_channels_last(name):
    model, views, _ = build(name)
    # In double precision: BatchNorm over three images enlarges rounding.
    model, views = model.double(), [view.double() for view in views]
    other = deepcopy(model).to(memory_format=torch.channels_last)
    last = [view.to(memory_format=torch.channels_last) for view in views]
    seen = []
    other.backbone.layer1.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    ours, expected = other.loss(last), model.loss(views)
    torch.testing.assert_close(ours['loss'], expected['loss'])
    torch.testing.assert_close(other.last_selection.pair_loss, model.last_selection.pair_loss)
    # The candidates and the kept views: the format survives joining and gathering.
    assert len(seen) >= 2
    assert all(seen)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SimSiam', 'DINO'])
def test_a_run_with_all_of_it(name, tmp_path):
    """A Runner that compiles, with a fused optimizer: the weights of a plain run."""
    if name == 'SimSiam':
        algorithm, views, counts = algorithm_config('SimSiam'), (4,), dict(candidates=[4], keep=[2])
        # A larger batch: few images make BatchNorm, and with it rounding, matter.
        settings = dict(num_views=views, batch_size=8)
    else:
        algorithm = dino_config('DINO')
        counts = dict(candidates=[3, 4], keep=[2, 2])
        settings = dict(num_views=(3, 4), hooks=[dict(type='TeacherHook')])
    model = dict(type='HVSAlgorithm', algorithm=algorithm, **counts)
    weights = {}
    for fused in (False, True):
        runner = build_runner(
            tmp_path / str(fused),
            deepcopy(model),
            max_epochs=1,
            num_batches=2,
            # The gradient of the keys' biases is zero but for rounding, which AdamW with its own
            # epsilon would enlarge to whole steps.
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4, eps=1e-6, fused=fused)),
            **settings,
            **({'compile': dict(backend='aot_eager')} if fused else {}),
        )
        runner.train()
        weights[fused] = runner.model.state_dict()
    for key, value in weights[False].items():
        torch.testing.assert_close(weights[True][key], value, rtol=1e-3, atol=1e-4)
