"""What a run says of schedules that it was begun with."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, OptimWrapper

from hvs_mm.engine.optim.resumed_schedules import resumed_differences, schedule_settings
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import build_runner


def optimizer():
    return OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))


def resumed(kind, before, now):
    """What is said of a scheduler that was built with some settings and resumed with others."""
    optimizers = optimizer(), optimizer()
    first, second = kind(optimizers[0], **before), kind(optimizers[1], **now)
    for _ in range(3):
        optimizers[0].step()
        first.step()
    configured = schedule_settings([second])
    second.load_state_dict(first.state_dict())
    return resumed_differences([second], configured, {}, {})


@pytest.mark.parametrize(
    ('kind', 'before', 'now', 'expected'),
    [
        (CosineAnnealingLR, dict(T_max=4, end=4), dict(T_max=4, end=4), []),
        (
            CosineAnnealingLR, dict(T_max=4, begin=1, end=4), dict(T_max=6, begin=2, end=6),
            ['CosineAnnealingLR of lr has T_max=4 (the config: 6), begin=1 (the config: 2), '
             'end=4 (the config: 6)'],
        ),
        (
            MultiStepLR, dict(milestones=[2, 3]), dict(milestones=[2, 5]),
            ['MultiStepLR of lr has milestones=[2, 3] (the config: [2, 5])'],
        ),
        (
            LinearLR, dict(start_factor=0.5), dict(start_factor=0.1),
            ['LinearLR of lr has start_factor=0.5 (the config: 0.1)'],
        ),
    ],
)  # fmt: skip
def test_what_differs(kind, before, now, expected):
    assert resumed(kind, before, now) == expected


def test_what_ends_before_the_run():
    cosine, linear = CosineAnnealingLR(optimizer(), T_max=4, end=4), LinearLR(optimizer(), end=2)
    steps = CosineAnnealingLR(optimizer(), T_max=40, end=40, by_epoch=False)
    schedulers = dict(a=[cosine, linear], b=[steps])
    configured = schedule_settings(schedulers)
    assert [one['end'] for one in configured] == [4, 2, 40]
    same, longer = {True: 4, False: 40}, {True: 6, False: 60}
    assert resumed_differences(schedulers, configured, same, same) == []
    # A warm-up ends early in any run.
    assert resumed_differences(schedulers, configured, same, longer) == [
        'CosineAnnealingLR of lr ends with epoch 4 of 6 and leaves its last value',
        'CosineAnnealingLR of lr ends with iteration 40 of 60 and leaves its last value',
    ]
    assert resumed_differences(schedulers, configured, longer, same) == []


@pytest.mark.parametrize(
    'unbuilt', [None, [dict(type='LinearLR', end=2)], dict(type='MultiStepLR', milestones=[2])]
)
def test_settings_of_schedulers_are_no_schedulers(unbuilt):
    assert schedule_settings(unbuilt) == []
    assert resumed_differences(unbuilt, [], {True: 4}, {True: 6}) == []


def train(work_dir, max_epochs, schedule, **config):
    runner = build_runner(
        work_dir,
        algorithm_config('SimSiam'),
        num_views=[2],
        num_batches=1,
        max_epochs=max_epochs,
        runner_type='mmpretrain.ReliableRunner',
        param_scheduler=dict(type='CosineAnnealingLR', **schedule),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        log_level='WARNING',
        **config,
    )
    runner.train()
    return runner


def test_a_run_that_is_made_longer(tmp_path, capfd):
    train(tmp_path, 2, dict(T_max=2, eta_min=0.001))
    capfd.readouterr()

    def said():
        return re.findall('Schedules continue .*', ''.join(capfd.readouterr()))

    train(tmp_path, 2, dict(T_max=2, eta_min=0.001), resume=True)
    assert said() == []
    runner = train(tmp_path, 4, dict(T_max=4, eta_min=0.001), resume=True)
    (line,) = said()
    last = tmp_path / 'epoch_2.pth'
    assert line == (
        f'Schedules continue as they are in {last}: CosineAnnealingLR of lr has T_max=2 (the '
        'config: 4), end=2 (the config: 4); CosineAnnealingLR of lr ends with epoch 2 of 4 and '
        'leaves its last value. For those of the config start a new run from its weights, with '
        f'load_from={last} and resume=False.'
    )
    # The last value of the first run: a half of the cosine was to come.
    assert runner.optim_wrapper.get_lr()['lr'][0] == pytest.approx(0.01 / 2 + 0.001 / 2)
    train(tmp_path / 'new', 4, dict(T_max=4), load_from=str(last))
    assert said() == []
