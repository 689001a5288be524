"""Dials of a selector over a run, against their formulas."""

from __future__ import annotations

from contextlib import nullcontext
from math import cos, pi

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from hvs_mm.engine import HardnessSchedule
from hvs_mm.models import HVSAlgorithm
from tests.helpers.tiny import algorithm_config, build_hvs
from tests.helpers.tiny_dino import build_runner


def optimizer():
    # Two groups, of which one has no part in the selection.
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return OptimWrapper(torch.optim.SGD([{'params': [one]} for one in parameters], lr=0.1))


def turned(model, steps, *schedules):
    """The dial in each of some steps."""
    wrapper, values = optimizer(), []
    built = [HardnessSchedule(wrapper, **one) for one in schedules]
    for one in built:
        one.connect(model)
    for _ in range(steps):
        values.append(getattr(model.selector, schedules[0]['dial']))
        wrapper.step()
        for one in built:
            one.step()
    return values


def linear(start, stop, steps):
    return [start + (stop - start) * step / (steps - 1) for step in range(steps)]


def test_values_of_a_linear_schedule():
    model = build_hvs('SimSiam', selector={'type': 'softened', 'temperature': 7})
    schedule = dict(dial='temperature', from_value=4, to_value=0.5, begin=2, end=8)
    # As set before it begins, and as it ended afterwards.
    expected = [7.0] * 2 + linear(4, 0.5, 6) + [0.5] * 2
    assert turned(model, 10, schedule) == pytest.approx(expected)


def test_values_of_a_cosine():
    model = build_hvs('SimSiam', selector={'type': 'quantile', 'quantile': 0.5})
    schedule = dict(dial='quantile', from_value=1, to_value=0.3, end=6, curve='cosine')
    expected = [0.3 + 0.7 * (1 + cos(pi * step / 5)) / 2 for step in range(6)]
    values = turned(model, 6, schedule)
    assert values == pytest.approx(expected)
    assert (values[0], values[-1]) == (1, 0.3)


def test_numbers_of_comparisons_are_whole():
    model = build_hvs('SimSiam', selector='hardest')
    schedule = dict(dial='max_comparisons', from_value=1, to_value=4, end=6)
    # 1, 1.6, 2.2, 2.8, 3.4, 4
    assert turned(model, 6, schedule) == [1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize('order', [1, -1])
def test_one_after_the_other(order):
    model = build_hvs('SimSiam', selector={'type': 'softened', 'temperature': 1})
    first = dict(dial='temperature', from_value=8, to_value=4, end=3)
    second = dict(dial='temperature', from_value=4, to_value=1, begin=5, end=7)
    expected = [8, 6, 4, 4, 4, 4, 1, 1]
    assert turned(model, 8, *[first, second][::order]) == expected


def test_a_single_step():
    model = build_hvs('SimSiam', selector='softened')
    schedule = dict(dial='temperature', from_value=3, to_value=2, begin=1, end=2)
    assert turned(model, 3, schedule) == [1, 2, 2]


def test_a_rule_of_a_group():
    model = build_hvs('SimSiam', selector={'type': 'per_group', 'global_crops': 'softened'})
    wrapper = optimizer()
    schedule = HardnessSchedule(wrapper, 'global_crops.temperature', 3, 2, end=2)
    schedule.connect(model)
    assert model.selector.rules['global_crops'].temperature == 3
    wrapper.step()
    schedule.step()
    assert model.selector.rules['global_crops'].temperature == 2


def test_wrong_ends_leave_the_selector_alone():
    model = build_hvs('SimSiam', selector={'type': 'quantile', 'quantile': 0.5})
    schedule = HardnessSchedule(optimizer(), 'quantile', 0.2, 1.2, end=2)
    with pytest.raises(ValueError, match=r'quantile=1\.2 must be between'):
        schedule.connect(model)
    assert model.selector.quantile == 0.5


class Stop(Hook):
    """Breaks a run off after an iteration, behind its checkpoint."""

    priority = 'LOWEST'

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, **kwargs):
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def build(work_dir, schedule, stop_after=None, runner_type='mmpretrain.ReliableRunner', **config):
    model = dict(
        type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'), candidates=[4], keep=[2],
        selector=dict(type='softened', temperature=9),
    )  # fmt: skip
    runner = build_runner(
        work_dir,
        model,
        num_views=[4],
        num_batches=3,
        max_epochs=3,
        runner_type=runner_type,
        param_scheduler=dict(
            type='HardnessSchedule', dial='temperature', from_value=4, to_value=1, **schedule
        ),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        log_level='WARNING',
        **config,
    )
    runner.register_hook(Stop(stop_after))
    return runner


@pytest.fixture
def seen(monkeypatch):
    """The dial in each step, and what the log says of it."""
    values, loss = [], HVSAlgorithm.loss

    def noting(self, *args, **kwargs):
        logged = MessageHub.get_current_instance().log_scalars.get('train/selection_temperature')
        values.append((self.selector.temperature, None if logged is None else logged.current()))
        return loss(self, *args, **kwargs)

    monkeypatch.setattr(HVSAlgorithm, 'loss', noting)
    return values


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        (dict(begin=1, by_epoch=True, convert_to_iter_based=True), [9] * 3 + linear(4, 1, 6)),
        (dict(by_epoch=False, begin=2, end=6), [9] * 2 + linear(4, 1, 4) + [1] * 3),
        (dict(begin=1), [9] * 3 + [4] * 3 + [1] * 3),
    ],
    ids=['converted', 'by step', 'by epoch'],
)
def test_a_run_that_is_broken_off_and_resumed(schedule, expected, tmp_path, seen):
    """The same values, log and weights as without a break, wherever that is."""
    whole = build(tmp_path / 'whole', schedule)
    whole.train()
    values, logged = zip(*seen)
    assert values == pytest.approx(expected)
    assert logged == tuple(None if value == 9 else value for value in values)
    without_break = [*seen]
    seen.clear()
    for after in (1, 4, 7, None):
        parts = build(tmp_path / 'parts', schedule, after, resume=True)
        with pytest.raises(KeyboardInterrupt) if after else nullcontext():
            parts.train()
    assert seen == without_break
    for name, value in whole.model.state_dict().items():
        assert value.equal(parts.model.state_dict()[name]), name


def test_a_schedule_that_the_resumed_run_is_new_to(tmp_path, seen):
    """As with any scheduler of MMEngine it starts from its beginning."""
    first = build(tmp_path, {}, stop_after=3, resume=False)
    first.param_schedulers = None
    with pytest.raises(KeyboardInterrupt):
        first.train()
    assert [temperature for temperature, _ in seen] == [9] * 3
    build(tmp_path, dict(by_epoch=False, end=6), resume=True).train()
    assert [temperature for temperature, _ in seen[3:]] == pytest.approx(linear(4, 1, 6))


def test_a_runner_that_connects_nothing(tmp_path):
    runner = build(tmp_path, dict(by_epoch=False), runner_type='Runner')
    with pytest.raises(RuntimeError, match=r"set runner_type='mmpretrain\.ReliableRunner'"):
        runner.train()
