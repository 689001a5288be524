"""The guard of DINO and iBOT: its running mean, its level, and what a step does with it."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from math import isnan, log, nan

import pytest
import torch
from mmengine.hooks import Hook

from hvs_mm.models import HVSAlgorithm, InformationGuard
from hvs_mm.selection.output_sums import OutputSums
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import (
    build_dino,
    build_runner,
    candidate_crops,
    dino_config,
    random_samples,
)
from tests.test_selection.test_output_sums import by_hand

#: Levels that are 0 and 1 whatever the outputs tell.
CLOSED, OPEN = {'low': 90, 'high': 100}, {'low': 0, 'high': 1e-9}


class Sums:
    """Sums over outputs with an information that is given."""

    def __init__(self, information):
        self.value = information

    def over_processes(self):
        return self

    def information(self):
        return torch.tensor(float(self.value))


def levels(guard, script):
    return [guard.level(Sums(value))[0].item() for value in script]


# --- The level -------------------------------------------------------------------------------


@pytest.mark.usefixtures('no_runner')
def test_the_level_follows_the_information():
    """From 1 to 0 and up again, by hand."""
    guard = InformationGuard(low=1, high=3, momentum=0.5)
    script = [4.0, 2, 1, 0, 0, 6, 6]
    # The running mean is 4, 3, 2, 1, 0.5, 3.25, 4.625.
    assert levels(guard, script) == pytest.approx([1, 1, 0.5, 0, 0, 1, 1])


@pytest.mark.usefixtures('no_runner')
def test_a_small_momentum_sees_no_single_batch():
    guard = InformationGuard(low=0, high=1, momentum=0.01)
    assert levels(guard, [1.0, 0, 1, 1]) == pytest.approx([1, 0.99, 0.9901, 0.990199])
    guard = InformationGuard(low=0, high=1, momentum=1)
    assert levels(guard, [1.0, 0, 0.25]) == [1, 0, 0.25]


@pytest.mark.usefixtures('no_runner')
def test_information_that_is_not_a_number():
    guard = InformationGuard(low=1, high=3, momentum=0.5)
    # It leaves the mean alone; without any before it, choices are random.
    assert levels(guard, [nan, 2.0, nan, 3, float('inf'), 2.5]) == pytest.approx(
        [0, 0.5, 0.5, 0.75, 0.75, 0.75]
    )


@pytest.mark.usefixtures('no_runner')
def test_the_information_of_a_batch():
    guard = InformationGuard(low=0, high=log(2))
    sums = OutputSums.of_logits(100 * torch.eye(2)[None], 1.0)
    level, information = guard.level(sums)
    assert (level.item(), information.item()) == pytest.approx((1, log(2)))


# --- A step ----------------------------------------------------------------------------------


def build(name='DINO', **kwargs):
    torch.manual_seed(0)
    return HVSAlgorithm(build_dino(name, num_crops=4), (2, 2, 4), (1, 1, 2), **kwargs)


@pytest.mark.usefixtures('no_runner')
@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
def test_the_student_of_the_selection_pass_is_watched(name):
    model = build(name, guard={'low': 0.0, 'high': 2.0})
    views, samples = candidate_crops((2, 2, 4), 5), random_samples(5, 4)
    with torch.no_grad():
        masks = () if name == 'DINO' else (model.algorithm.masks_of(samples, views[:4]),)
        outputs = deepcopy(model.algorithm)
        logits = (
            outputs.outputs(views, 4, *masks).student if masks else outputs.student_logits(views)
        )
    expected = by_hand(logits, model.head.student_temp)
    entries = model.loss(views, samples)
    assert expected > 0.01
    assert entries['hvs_information'].item() == pytest.approx(expected, rel=1e-4)
    assert entries['hvs_guard'].item() == pytest.approx(expected / 2, rel=1e-4)


@pytest.mark.usefixtures('no_runner')
@pytest.mark.parametrize('selector', ['hardest', 'easiest'])
def test_choices_of_a_step(selector):
    views = candidate_crops((2, 2, 4), 24)
    kept = {}
    for name, guard in (('none', None), ('open', OPEN), ('closed', CLOSED)):
        model = build(selector=selector, guard=guard)
        entries = model.loss(views)
        assert ('hvs_guard' in entries) == (guard is not None)
        kept[name] = model.last_selection
    assert torch.equal(kept['open'].indices, kept['none'].indices)
    assert torch.equal(kept['open'].score, kept['none'].score)
    same = (kept['closed'].indices == kept['none'].indices).all(1).float().mean()
    # By chance 1 of 24.
    assert same < 0.3
    assert kept['none'].hardness().abs().mean() > 0.7
    assert abs(kept['closed'].hardness().mean()) < 0.35


@pytest.mark.usefixtures('no_runner')
def test_only_training_steps_count():
    model = build(guard=CLOSED)
    views = candidate_crops((2, 2, 4), 8)
    hardest = model.select_views(views)
    assert torch.equal(hardest.indices, build().select_views(views).indices)
    assert model.guard._estimate is None
    model.loss(views)
    estimate = model.guard._estimate
    model.select_views(views)
    assert model.guard._estimate is estimate


@pytest.mark.usefixtures('no_runner')
def test_steps_without_selection_leave_the_mean_alone():
    model = build(guard={'momentum': 0.5}, schedule={'interval': 2})
    estimates = []
    for _ in range(3):
        entries = model.loss(candidate_crops((2, 2, 4)))
        estimates.append(model.guard._estimate)
        assert ('hvs_information' in entries) == (len(estimates) != 2)
    assert estimates[0] is estimates[1]
    assert estimates[2] != estimates[1]


def test_the_guard_is_no_part_of_a_checkpoint():
    model = build(guard={})
    model.loss(candidate_crops((2, 2, 4)))
    assert model.state_dict().keys() == build().state_dict().keys()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'low': -0.1}, r'guard\.low=-0\.1 must be a number of nats'),
        ({'high': nan}, r'guard\.high=nan must be a number of nats'),
        ({'high': '1'}, r"guard\.high='1' must be a number of nats"),
        ({'low': 0.5, 'high': 0.5}, r'guard\.high=0\.5 must be above guard\.low=0\.5'),
        ({'momentum': 0}, r'guard\.momentum=0 must be above 0 and at most 1'),
        ({'floor': 1}, r"guard does not take 'floor': expected some of \['low'"),
        (True, r'guard=True must be a dict'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build(guard=settings)


def test_methods_without_prototypes():
    with pytest.raises(
        ValueError, match=r"SimSiamPairLoss does not give: .*\['DINO', 'DINOv2', 'IBOT'\]"
    ):
        HVSAlgorithm(algorithm_config('SimSiam'), [4], [2], guard={})


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'selection_pass': {'depth': 1}}, r'but selection_pass\.depth=1 leaves the network'),
        ({'selector': 'lowest_iou'}, r'but LowestIoUSelector needs none: leave it out'),
    ],
)
def test_selection_without_outputs(settings, message):
    with pytest.raises(ValueError, match=message):
        build(guard={}, **settings)


# --- Runs ------------------------------------------------------------------------------------


class Record(Hook):
    """Keeps what the steps log, and breaks the run off after an iteration."""

    priority = 'LOWEST'

    def __init__(self, after=None):
        self.after = after
        self.levels = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.levels.append(tuple(outputs[name].item() for name in ('hvs_information', 'hvs_guard')))
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def run(work_dir, after=None, resume=False, runner_type='mmpretrain.ReliableRunner'):
    model = dict(
        type='HVSAlgorithm',
        algorithm=dino_config('DINO', num_crops=4),
        candidates=[3, 4],
        keep=[2, 2],
        guard={'low': 0.0, 'high': 3.0, 'momentum': 0.3},
    )
    runner = build_runner(
        work_dir,
        model,
        num_views=(3, 4),
        num_batches=3,
        hooks=[dict(type='TeacherHook', momentum=0.1)],
        runner_type=runner_type,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        resume=resume,
    )
    record = Record(after)
    runner.register_hook(record)
    with pytest.raises(KeyboardInterrupt) if after else nullcontext():
        runner.train()
    return runner, record.levels


def test_a_run_that_is_broken_off_and_resumed(tmp_path):
    whole, expected = run(tmp_path / 'whole')
    mean = expected[0][0]
    for information, level in expected:
        mean = 0.7 * mean + 0.3 * information
        assert level == pytest.approx(mean / 3, rel=1e-4)
        assert 0 < level < 1
    levels = []
    for after in (2, 4, None):
        # A model of its own, which knows nothing of the steps before.
        resumed, more = run(tmp_path / 'parts', after, resume=True)
        levels += more
    assert levels == expected
    for name, value in whole.model.state_dict().items():
        assert value.equal(resumed.model.state_dict()[name]), name


def test_a_run_begins_without_a_mean(tmp_path):
    """Also where one came before it in the process."""
    for number in range(2):
        _, ((information, level), *_) = run(tmp_path / str(number))
        assert level == pytest.approx(information / 3)


def level_of_a_rank(rank, world_size, folder):
    guard = InformationGuard(low=0.0, high=5.0, momentum=0.5)
    found = [guard.level(sums_of(step, rank, world_size)) for step in range(3)]
    torch.save(torch.tensor(found), f'{folder}/{rank}.pt')


def sums_of(step, rank=0, world_size=1):
    """Of a rank's part of a batch; parts differ in size."""
    logits = torch.randn(7, 3, 8, generator=torch.Generator().manual_seed(step))
    return OutputSums.of_logits(logits if world_size == 1 else logits.split([2, 5])[rank], 0.1)


@pytest.mark.usefixtures('no_runner')
def test_ranks_have_the_level_of_the_joint_batch(tmp_path):
    run_ranks(level_of_a_rank, 2, tmp_path, 2, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert torch.equal(first, second)
    guard = InformationGuard(low=0.0, high=5.0, momentum=0.5)
    expected = torch.tensor([guard.level(sums_of(step)) for step in range(3)])
    torch.testing.assert_close(first, expected)
    assert not isnan(first.sum())
