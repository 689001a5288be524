from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hvs_mm.engine.hooks.console_hook import (
    ConsoleHook,
    automatic_interval,
    describe_devices,
    duration,
)


@pytest.mark.parametrize(
    ('length', 'base', 'interval'),
    [
        # Shorter epochs have the line of their end.
        (5, 50, 50),
        (549, 50, 50),
        (550, 50, 100),
        (5004, 50, 500),
        (10_000, 50, 1000),
        (1_000_000, 50, 100_000),
        (640, 16, 80),
    ],
)
def test_interval_follows_the_length_of_the_epoch(length, base, interval):
    assert automatic_interval(length, base) == interval


def test_interval_out_of_range():
    with pytest.raises(ValueError, match='interval=0'):
        ConsoleHook(interval=0)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    described = 'no GPU found: training on the CPU, 1 thread'
    assert describe_devices('training', [('cpu', 1)]) == described
    described = 'no GPU found: testing on the CPU, 2 processes with 4 threads each'
    assert describe_devices('testing', [('cpu', 4), ('cpu', 4)]) == described
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert describe_devices('training', [('cpu', 4)]) == 'training on the CPU, 4 threads'
    gpus = [('NVIDIA H200', 4)] * 2
    assert describe_devices('training', gpus) == 'training on 2 x NVIDIA H200'
    gpus = [('NVIDIA H200', 4), ('NVIDIA A100', 4)]
    assert describe_devices('training', gpus) == 'training on NVIDIA H200, NVIDIA A100'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0:00:00'), (59.6, '0:01:00'), (3723, '1:02:03'), (86399, '23:59:59'),
     (93_600, '1d02h'), (864_000, '10d00h')],
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_numbers_of_selection_are_not_repeated():
    hook = ConsoleHook()
    latest = {'hardness': 0.674, 'iou_kept': 0.3, 'iou_all': 0.4, 'lowest_iou': 0.5}
    hook._stats, hook._shown_stats = SimpleNamespace(latest=latest), None
    assert hook._selection() == ['hard 0.67', 'IoU -0.100', 'low 50%']
    assert hook._selection() == []
    hook._stats.latest = dict(latest, hardness=-0.5)
    assert hook._selection()[0] == 'hard -0.50'
