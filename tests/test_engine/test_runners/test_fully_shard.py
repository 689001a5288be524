"""Sharded processes learn what those of DistributedDataParallel do, and save the same files."""

from __future__ import annotations

import json
import os
import re
import signal
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

import tests.helpers.nonfinite_runs  # noqa: F401  registers faults
from hvs_mm.engine import CPUDistributedDataParallel, FullyShard, Preempted
from hvs_mm.engine.checks.sharding_checks import check_sharding
from hvs_mm.engine.runners.fully_shard import stacked_layers
from hvs_mm.utils.sharded_tensor import is_sharded
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import GROUP_NORM, algorithm_config, build_hvs
from tests.helpers.tiny_dino import build_hvs_dino, build_runner, candidate_crops, dino_config
from tests.helpers.tools import load_tool
from tests.test_engine.test_hooks.test_preemption_hook import Sender
from tests.test_models import test_distributed as joint

DDP = {'type': 'mmpretrain.CPUDistributedDataParallel', 'broadcast_buffers': False}
SHARDED = {'type': 'FullyShard'}
RESHARDED = {'type': 'FullyShard', 'reshard_after_forward': True}
STEPS = 3
# With the default eps AdamW would turn rounding errors of gradients that are 0 into steps.
ADAMW = {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.1, 'eps': 1e-3}
KNN = {
    'type': 'KNNHook',
    'interval': 1,
    'at_start': True,
    'k': [1],
    # One process gets more images than the other.
    'queries': {'type': 'ShapesDataset', 'split': 'val', 'num_samples': 31, 'img_size': 48},
}

is_old_torch = torch.__version__ < '2.8'
needs_fsdp2 = pytest.mark.skipif(
    is_old_torch, reason='FullyShard needs torch 2.8: runs on the default stack'
)


@dataclass
class Case:
    """A run that is trained sharded and with DistributedDataParallel.

    Attributes:
        name: Name of the algorithm.
        wrapper: How it is sharded.
        by: Whose gradient norm is clipped.
        model: Arguments of ``HVSAlgorithm``.
        hooks: Further hooks.
        optim_wrapper: Settings of the optimizer wrapper.
        atol: Largest difference of weights.
    """

    name: str = 'DINO'
    wrapper: dict[str, Any] = field(default_factory=lambda: SHARDED)
    by: str = 'model'
    model: dict[str, Any] = field(default_factory=dict)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    optim_wrapper: dict[str, Any] = field(default_factory=dict)
    atol: float = 1e-6


LARS = {'type': 'LARS', 'lr': 0.1, 'momentum': 0.9, 'weight_decay': 0.1}
HALF = {'type': 'CPUAmpOptimWrapper'}
METHODS = {
    'DINO': Case(wrapper=RESHARDED, by='part'),
    'IBOT': Case('IBOT', by='tensor'),
    'DINOv2': Case('DINOv2', by='part'),
    'BarlowTwins': Case('BarlowTwins', RESHARDED),
    'SimCLR, LARS': Case('SimCLR', optim_wrapper={'optimizer': LARS}),
}
#: Those of ``test_distributed.py`` that are compared in double precision.
DOUBLE = (
    *('SimSiam', 'BYOL, BatchNorm', 'SimCLR', 'MoCoV3', 'MoCo', 'DenseCL, half of the samples'),
    *('VICReg', 'DINO, BatchNorm', 'IBOT, half of the samples'),
)
SETTINGS = {
    "MMEngine's clipping": Case(optim_wrapper={'clip_grad': {'max_norm': 0.05}}),
    'accumulated gradients': Case(optim_wrapper={'accumulative_counts': 2}),
    'a loss scaler': Case(optim_wrapper=HALF, atol=2e-3),
    'a scaler that finds NaN': Case(
        optim_wrapper=HALF,
        hooks=[{'type': 'Fault', 'iterations': [1], 'kind': 'gradient', 'rank': 1}],
        atol=2e-3,
    ),
    'half of the samples': Case(model={'schedule': {'prob': 0.5}}),
    'the first layer selects': Case(model={'selection_pass': {'depth': 1}}),
    'k-NN': Case('SimSiam', hooks=[KNN]),
    'k-NN of a transformer': Case(wrapper=RESHARDED, hooks=[KNN]),
    'health': Case(wrapper=RESHARDED, hooks=[{'type': 'HealthHook'}]),
    'panels': Case(hooks=[{'type': 'SelectionPanelHook', 'interval': 1}]),
    'an average that skips': Case('BYOL', hooks=[{'type': 'Fault', 'iterations': [1], 'rank': 1}]),
    **{
        f'NaN {kind} in process {rank}': Case(
            hooks=[{'type': 'Fault', 'iterations': [1], 'kind': kind, 'rank': rank}]
        )
        for kind in ('gradient', 'loss')
        for rank in (0, 1)
    },
}
CASES = {'fast': Case(by='tensor'), **METHODS, **SETTINGS}


def train(folder: Path, case: Case, wrapper: dict[str, Any], **config: Any) -> Path:
    """Train for three steps, and return the last checkpoint."""
    case = deepcopy(case)
    dino = case.name in ('DINO', 'IBOT', 'DINOv2')
    algorithm = (
        dino_config(case.name, num_crops=3) if dino else algorithm_config(case.name, GROUP_NORM)
    )
    candidates, keep = ([2, 2], [2, 1]) if dino else ([4], [2])
    hooks = [{'type': 'FiniteStepHook'}, {'type': 'GradientHook', 'clip': 0.1, 'by': case.by}]
    hooks += [{'type': 'TeacherHook', 'momentum': 0.3}] if dino else []
    counts = case.optim_wrapper.get('accumulative_counts', 1)
    os.environ['LOCAL_RANK'] = '0'
    settings = {
        'runner_type': 'ReliableRunner',
        'launcher': 'pytorch',
        'model_wrapper_cfg': dict(wrapper),
        'optim_wrapper': {'optimizer': dict(ADAMW), **case.optim_wrapper},
        'param_scheduler': [
            {'type': 'CosineWeightDecay', 'eta_min': 0.4, 'by_epoch': False, 'end': STEPS}
        ],
        'default_hooks': {
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False}
        },
        'knn_pipeline': [{'type': 'Resize', 'scale': 32}, {'type': 'PackInputs'}],
        **config,
    }
    runner = build_runner(
        folder,
        {
            'type': 'HVSAlgorithm',
            'algorithm': algorithm,
            'candidates': candidates,
            'keep': keep,
            **case.model,
        },
        candidates,
        batch_size=4,
        num_batches=torch.distributed.get_world_size() * STEPS * counts,
        max_epochs=1,
        hooks=hooks + case.hooks + settings.pop('hooks', []),
        **settings,
    )
    runner.train()
    parameters = list(runner.model.parameters())
    assert any(map(is_sharded, parameters)) == (wrapper['type'] == 'FullyShard')
    return folder / f'iter_{STEPS * counts}.pth'


def compare(rank: int, folder: str, names: list[str]) -> None:
    for name in names:
        for kind, wrapper in (('sharded', CASES[name].wrapper), ('ddp', DDP)):
            train(Path(folder, name, kind), CASES[name], wrapper)


def logged(folder: Path) -> list[dict[str, float]]:
    """The entries of a run's log, without times."""
    (path,) = folder.glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in one.items() if 'time' not in k and k != 'memory'} for one in entries]


def assert_same(path: Path, other: Path, atol: float, rtol: float = 1e-4) -> None:
    """Compare weights, centers and the optimizer's state of two checkpoints."""
    one, two = (torch.load(each, weights_only=False) for each in (path, other))
    assert all(type(value) is torch.Tensor for value in one['state_dict'].values())
    for key in ('state_dict', 'optimizer'):
        torch.testing.assert_close(one[key], two[key], atol=atol, rtol=rtol)


def assert_equal_runs(folder: Path, name: str) -> None:
    case = CASES[name]
    sharded, ddp = folder / name / 'sharded', folder / name / 'ddp'
    steps = STEPS * case.optim_wrapper.get('accumulative_counts', 1)
    assert_same(sharded / f'iter_{steps}.pth', ddp / f'iter_{steps}.pth', case.atol)
    torch.testing.assert_close(logged(sharded), logged(ddp), rtol=1e-3, atol=1e-3)


# --- In the default suite: DINO ---------------------------------------------------------------


def count_gathers(rank: int, folder: str) -> None:
    """The collectives of a step with and without selection."""
    traffic, found = load_tool('benchmarks/_traffic'), {}
    for selects in (True, False):
        model = build_hvs_dino()
        model.schedule.is_due = lambda selects=selects: selects
        wrapped = FullyShard(model.train())
        with traffic.CollectiveCounter() as counter:
            wrapped(candidate_crops((2, 2, 4)), mode='loss')['loss'].backward()
        found[selects] = [(one.kind, one.size) for one in counter.found]
    torch.save(found, f'{folder}/{rank}.pt')


def train_fast(rank: int, folder: str) -> None:
    compare(rank, folder, ['fast'])
    count_gathers(rank, folder)


@pytest.fixture(scope='module')
def fast(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    run_ranks(train_fast, 2, folder, str(folder))
    return folder


@needs_fsdp2
def test_dino_learns_what_it_does_with_ddp(fast):
    assert_equal_runs(fast, 'fast')
    # The teacher has moved, but is not the student.
    states = [
        torch.load(fast / 'fast/sharded' / f'iter_{step}.pth', weights_only=False)['state_dict']
        for step in (1, STEPS)
    ]
    before, after = (state['teacher.backbone.layers.0.ln1.weight'] for state in states)
    assert not torch.equal(before, after)
    assert not torch.equal(after, states[1]['backbone.layers.0.ln1.weight'])


@needs_fsdp2
def test_selection_collects_only_what_training_does(fast):
    for rank in range(2):
        found = torch.load(fast / f'{rank}.pt', weights_only=False)
        assert found[True] == found[False]
        kinds = [kind for kind, _ in found[True]]
        # Two layers of student and teacher and the rest, and for local crops two once more.
        assert (kinds.count('all_gather'), kinds.count('reduce_scatter')) == (7, 3)


# --- All methods, settings and resumes --------------------------------------------------------


@needs_fsdp2
@pytest.mark.slow
@pytest.mark.parametrize('processes', [2, 4])
def test_methods_learn_what_they_do_with_ddp(processes, tmp_path):
    run_ranks(compare, processes, tmp_path, str(tmp_path), list(METHODS))
    for name in METHODS:
        assert_equal_runs(tmp_path, name)


@needs_fsdp2
@pytest.mark.slow
def test_settings(tmp_path):
    run_ranks(compare, 2, tmp_path, str(tmp_path), list(SETTINGS))
    for name, case in SETTINGS.items():
        assert_equal_runs(tmp_path, name)
        (entry,) = [one for one in logged(tmp_path / name / 'sharded') if 'loss' in one][-1:]
        skips = any(hook['type'] == 'Fault' for hook in case.hooks)
        assert entry.get('skipped_steps', 0) == skips, name


def train_in_double(rank: int, world_size: int, folder: str) -> None:
    for name in DOUBLE:
        case = joint.CASES[name]
        norm = {'type': 'CrossRankBN'} if case.batch_norm else GROUP_NORM
        for kind, wrap in (('sharded', FullyShard), ('ddp', CPUDistributedDataParallel)):
            model = joint.build(case, norm, 1.0)
            # Its weights are not to be initialized again.
            model._is_init = True
            if rank > 0:
                # What the wrapper must replace by the parameters of the first process.
                for parameter in model.parameters():
                    parameter.data += 1
            wrapped = wrap(model)
            optimizer = joint.optimizer_of(wrapped)
            share = joint.BATCH // world_size
            rows = slice(rank * share, (rank + 1) * share)
            torch.manual_seed(rank)
            for step in range(STEPS):
                wrapped.train_step(joint.batch(case, step, rows), optimizer)
                after = joint.after_step(model)
            if rank == 0:
                torch.save(after['state'], f'{folder}/{name}-{kind}.pt')


@needs_fsdp2
@pytest.mark.slow
@pytest.mark.parametrize('processes', [2, 4])
def test_weights_in_double_precision(processes, tmp_path):
    run_ranks(train_in_double, processes, tmp_path, processes, str(tmp_path))
    for name in DOUBLE:
        one, two = (torch.load(tmp_path / f'{name}-{kind}.pt') for kind in ('sharded', 'ddp'))
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: n + m)


def resume(rank: int, folder: str) -> None:
    case = CASES['fast']

    def path(name: str) -> Path:
        return Path(folder, name)

    for name, wrapper in (('sharded', SHARDED), ('ddp', DDP)):
        train(path(name), case, wrapper)
    for name, source, wrapper in (
        ('sharded from sharded', 'sharded', SHARDED),
        ('resharded from sharded', 'sharded', RESHARDED),
        ('ddp from sharded', 'sharded', DDP),
        ('sharded from ddp', 'ddp', SHARDED),
    ):
        train(path(name), case, wrapper, resume=True, load_from=str(path(source) / 'iter_2.pth'))
    # Only one process gets the signal; all save together.
    sender = Sender(signal.SIGTERM, 0, rank=1)
    hook = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}}
    with pytest.raises(Preempted) as caught:
        train(path('preempted'), case, SHARDED, hooks=[sender], default_hooks=hook)
    assert caught.value.done == 2
    train(path('preempted'), case, SHARDED, resume=True)


@needs_fsdp2
@pytest.mark.slow
def test_resumed_runs(tmp_path):
    run_ranks(resume, 2, tmp_path, str(tmp_path))

    def same(name: str, other: str, **tolerance: float) -> None:
        assert_same(*(tmp_path / each / 'iter_3.pth' for each in (name, other)), **tolerance)

    same('sharded from sharded', 'sharded', atol=0, rtol=0)
    same('resharded from sharded', 'sharded', atol=0, rtol=0)
    same('preempted', 'sharded', atol=0, rtol=0)
    same('ddp from sharded', 'ddp', atol=1e-6)
    same('sharded from ddp', 'ddp', atol=1e-6)


# --- Units and refusals -----------------------------------------------------------------------


def test_the_teacher_has_the_units_of_the_student():
    model = build_hvs_dino()
    names = {id(module): name for name, module in model.named_modules()}
    assert [names[id(layer)] for layer in stacked_layers(model)] == [
        f'{network}backbone.layers.{number}' for network in ('', 'teacher.') for number in range(2)
    ]


def test_units_of_a_resnet_without_its_average():
    model = build_hvs('BYOL')
    names = {id(module): name for name, module in model.named_modules()}
    units = [names[id(layer)] for layer in stacked_layers(model)]
    assert units
    assert all(re.fullmatch(r'backbone\.layer\d\.\d', name) for name in units)


WRAPPED = {'runner_type': 'mmpretrain.ReliableRunner', 'model_wrapper_cfg': SHARDED}


@pytest.mark.parametrize(
    ('settings', 'model', 'message'),
    [
        ({}, nn.Linear(2, 2), 'shards DINO, SimSiam, .* not Linear, which may change weights'),
        ({}, 'SwAV', 'shards DINO, SimSiam, .* not SwAV, which may change weights'),
        (
            {'model_wrapper_cfg': RESHARDED},
            'BYOL',
            'reshard_after_forward=True: BYOL updates its momentum network in the forward pass',
        ),
        (
            {'runner_type': 'Runner'},
            'BYOL',
            "runner_type='Runner': a sharded model .* takes",
        ),
        ({'compile': True}, 'BYOL', 'compile=True has not been tried with model_wrapper_cfg.type'),
    ],
)
@needs_fsdp2
def test_what_is_refused(settings, model, message):
    model = build_hvs(model) if isinstance(model, str) else model
    check_sharding(Config({'model_wrapper_cfg': DDP}), model)
    with pytest.raises(ValueError, match=message):
        check_sharding(Config({**WRAPPED, **settings}), model)


def test_an_old_torch_is_refused(monkeypatch):
    if not is_old_torch:
        monkeypatch.setattr(torch, '__version__', type(torch.__version__)('2.5.1'))
    with pytest.raises(ValueError, match=r'^model_wrapper_cfg.type=FullyShard needs torch 2.8 or'):
        check_sharding(Config(WRAPPED), build_hvs_dino())
