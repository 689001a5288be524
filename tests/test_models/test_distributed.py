"""Several gloo processes select and learn what one does with their joint batch.

Every method trains through MMEngine's ``train_step`` of DistributedDataParallel, in double
precision. BatchNorm would make the processes differ from one: torch has no SyncBN for the CPU.
So each method with BatchNorm is compared twice, with GroupNorm in its place, and with a BatchNorm
over all processes (``tests/helpers/batch_norm.py``) against torch's own in one process.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from hvs_mm.engine import CPUDistributedDataParallel
from hvs_mm.models import HVSAlgorithm, SelectionSchedule
from hvs_mm.models.selfsup.teacher import update_ema
from tests.helpers.batch_norm import CrossRankBN
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import BATCH_NORM, GROUP_NORM, METHODS, algorithm_config, random_views
from tests.helpers.tiny_dino import (
    ARCH,
    RESNET,
    candidate_crops,
    dino_config,
    random_masks,
    samples_with,
    shake,
)

#: Images of a step, of all processes.
BATCH = 16
STEPS = 3


@dataclass
class Case:
    """A method and its settings.

    Attributes:
        name: Name of the algorithm.
        batch_norm: Whether it has BatchNorm, over all processes.
        loss_weight: Weight of SimCLR's loss in the processes, and in the one with the joint batch;
            the string ``'processes'`` stands for their number.
        schedule: Arguments of ``HVSAlgorithm`` that leave samples or steps out.
    """

    name: str
    batch_norm: bool = False
    loss_weight: tuple[Any, float] = (1.0, 1.0)
    schedule: dict[str, Any] = field(default_factory=dict)


CASES = {
    'SimSiam': Case('SimSiam'),
    'SimSiam, BatchNorm': Case('SimSiam', batch_norm=True),
    'SimSiam, half of the samples': Case('SimSiam', schedule={'prob': 0.5}),
    'BYOL': Case('BYOL'),
    'BYOL, BatchNorm': Case('BYOL', batch_norm=True),
    # Upstream's gradient is that of the joint batch over the number of processes, see
    # docs/scaling.md; a weight makes up for it.
    'SimCLR': Case('SimCLR', loss_weight=('processes', 1.0)),
    'SimCLR, BatchNorm': Case('SimCLR', batch_norm=True, loss_weight=('processes', 1.0)),
    'SimCLR, half of the samples': Case(
        'SimCLR', schedule={'prob': 0.5}, loss_weight=('processes', 1.0)
    ),
    'SimCLR, every other step': Case(
        'SimCLR', schedule={'interval': 2}, loss_weight=('processes', 1.0)
    ),
    'SimCLR as it is': Case('SimCLR', loss_weight=(1.0, 'processes')),
    'MoCoV3': Case('MoCoV3'),
    'MoCoV3, BatchNorm': Case('MoCoV3', batch_norm=True),
    'MoCo': Case('MoCo'),
    'DenseCL, half of the samples': Case('DenseCL', schedule={'prob': 0.5}),
    'VICReg': Case('VICReg'),
    'DINO': Case('DINO'),
    'DINO, BatchNorm': Case('DINO', batch_norm=True),
    'DINO, every other step': Case('DINO', schedule={'interval': 2}),
    'IBOT': Case('IBOT'),
    'IBOT, half of the samples': Case('IBOT', schedule={'prob': 0.5}),
}


class GivenSamples(SelectionSchedule):
    """Selects for samples that are given, in the place of a draw."""

    samples: Tensor | None = None

    def draw_samples(self, batch_size: int, least: int = 1) -> Tensor | None:
        return self.samples


def build(case: Case, norm: dict[str, Any], loss_weight: float) -> HVSAlgorithm:
    """The same weights in every process."""
    torch.manual_seed(0)
    if case.name in ('DINO', 'IBOT'):
        candidates, keep = (2, 2, 2), (1, 1, 1)
        config = dino_config(
            case.name,
            num_crops=sum(keep),
            backbone={**RESNET, 'norm_cfg': norm} if case.batch_norm else None,
            neck={'in_channels': 64 if case.batch_norm else ARCH['embed_dims']},
        )
    else:
        candidates, keep = [4], [2]
        config = algorithm_config(case.name, norm)
        if case.name == 'SimCLR':
            config['head']['loss']['loss_weight'] = loss_weight
    # The one of self-supervised methods makes views float32.
    config['data_preprocessor'] = {'type': 'BaseDataPreprocessor'}
    model = HVSAlgorithm(config, candidates, keep, schedule=case.schedule).double()
    if case.name in ('DINO', 'IBOT'):
        shake(model.algorithm)
    return model


def batch(case: Case, step: int, rows: slice = slice(None)) -> dict[str, Any]:
    """Views and masks of the images of a process."""
    with torch.random.fork_rng():
        torch.manual_seed(100 + step)
        if case.name in ('DINO', 'IBOT'):
            views = candidate_crops((2, 2, 2), BATCH)
        else:
            views = random_views(4, BATCH)
        # Another number of patches in every sample, none in some views.
        masks = random_masks(BATCH, 4) & (torch.rand(BATCH, 4, 1, 1) < 0.8)
    return {
        'inputs': [view[rows].double() for view in views],
        'data_samples': samples_with(masks[rows]),
    }


def optimizer_of(model: nn.Module) -> OptimWrapper:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return OptimWrapper(torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=0.01))


def after_step(model: HVSAlgorithm) -> dict[str, Any]:
    """What a step has chosen, and the state it has left."""
    if hasattr(model.algorithm, 'update_teacher'):
        model.update_teacher(0.1)
    selection = model.last_selection
    return {
        'indices': None if selection is None else selection.indices,
        'score': None if selection is None else selection.score,
        'samples': None if selection is None else selection.samples,
        'state': deepcopy(model.state_dict()),
    }


def train_a_rank(rank: int, world_size: int, folder: str) -> None:
    for number, case in enumerate(CASES.values()):
        weight = world_size if case.loss_weight[0] == 'processes' else case.loss_weight[0]
        norm = {'type': 'CrossRankBN'} if case.batch_norm else GROUP_NORM
        model = build(case, norm, weight)
        assert case.batch_norm == any(isinstance(m, CrossRankBN) for m in model.modules())
        if rank > 0:
            # What the wrapper must replace by the parameters of the first process.
            for parameter in model.parameters():
                parameter.data += 1
        wrapped = CPUDistributedDataParallel(model, broadcast_buffers=False)
        optimizer = optimizer_of(model)
        share = BATCH // world_size
        rows = slice(rank * share, (rank + 1) * share)
        # Every process draws samples of its own.
        torch.manual_seed(rank)
        steps = []
        for step in range(STEPS):
            wrapped.train_step(batch(case, step, rows), optimizer)
            steps.append(after_step(model))
        torch.save(steps, f'{folder}/{number}-{rank}.pt')


def train_alone(case: Case, ranks: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One process with the joint batch; it selects for the samples that the others drew."""
    world_size = len(ranks)
    weight = 1 / world_size if case.loss_weight[1] == 'processes' else case.loss_weight[1]
    model = build(case, BATCH_NORM if case.batch_norm else GROUP_NORM, weight)
    model.schedule = GivenSamples(**case.schedule)
    optimizer = optimizer_of(model)
    steps = []
    for step in range(STEPS):
        drawn = [each[step]['samples'] for each in ranks]
        model.schedule.samples = None
        if drawn[0] is not None:
            share = BATCH // world_size
            model.schedule.samples = torch.cat(
                [samples + rank * share for rank, samples in enumerate(drawn)]
            )
        model.train_step(batch(case, step), optimizer)
        steps.append(after_step(model))
    return steps


@pytest.fixture(
    scope='module', params=[2, pytest.param(4, marks=pytest.mark.slow)], ids='{} processes'.format
)
def runs(request, tmp_path_factory) -> dict[str, list[list[dict[str, Any]]]]:
    """What every process did in every step of every case."""
    world_size, folder = request.param, tmp_path_factory.mktemp('processes')
    run_ranks(train_a_rank, world_size, folder, world_size, str(folder))
    return {
        name: [
            torch.load(folder / f'{number}-{rank}.pt', weights_only=False)
            for rank in range(world_size)
        ]
        for number, name in enumerate(CASES)
    }


def test_every_method_is_among_the_cases():
    # Upstream's BarlowTwins normalizes, and its SwAV assigns prototypes, in each process for
    # itself: tests/test_selection/test_pair_losses/test_several_processes.py.
    assert {case.name for case in CASES.values()} | {'BarlowTwins', 'SwAV'} >= set(METHODS)
    assert {case.name for case in CASES.values()} >= {'DINO', 'IBOT'}


@pytest.mark.usefixtures('no_runner')
@pytest.mark.parametrize('name', CASES)
def test_processes_are_one_with_the_joint_batch(runs, name):
    ranks, case = runs[name], CASES[name]
    alone = train_alone(case, ranks)
    selected = 0
    for step, expected in enumerate(alone):
        if expected['indices'] is None:
            assert all(each[step]['indices'] is None for each in ranks)
        else:
            indices, scores = (
                torch.cat([each[step][key] for each in ranks]) for key in ('indices', 'score')
            )
            assert torch.equal(indices, expected['indices'])
            torch.testing.assert_close(scores, expected['score'], rtol=1e-5, atol=1e-5)
            selected += len(indices)
        for each in ranks:
            state = each[step]['state']
            assert state.keys() == expected['state'].keys()
            for key, value in expected['state'].items():
                torch.testing.assert_close(
                    state[key], value, rtol=1e-7, atol=1e-9, msg=lambda m, key=key: f'{key}: {m}'
                )
    # The first and the third step are every other one.
    share = case.schedule.get('prob', 1.0) * (2 / 3 if 'interval' in case.schedule else 1.0)
    assert selected == round(share * STEPS * BATCH)


def test_a_teacher_that_is_sharded_otherwise():
    """As by MMEngine's FSDP, where a process may hold nothing of a parameter."""
    student, teacher = nn.Linear(2, 3), nn.Linear(2, 3)
    before = teacher.bias.clone()
    teacher.weight = nn.Parameter(torch.empty(0), requires_grad=False)
    with pytest.raises(ValueError, match='Shard with --cfg-options model_wrapper_cfg'):
        update_ema(teacher, student, 0.1)
    assert torch.equal(teacher.bias, before)
