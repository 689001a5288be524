"""What is remembered of logged numbers, and that log lines do not depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import LoggerHook

from hvs_mm.engine import ScalarHistoryHook
from hvs_mm.engine.hooks import scalar_history_hook
from tests.helpers.tiny_dino import build_runner, dino_config

BATCHES, EPOCHS = 5, 3
LAST = BATCHES * EPOCHS


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(scalar_history_hook, '_AT_LEAST', 2)


def train(work_dir: Path, windows: list[dict[str, Any]] = (), **hooks: Any):
    runner = build_runner(
        work_dir,
        dino_config(),
        num_batches=BATCHES,
        max_epochs=EPOCHS,
        runner_type='mmpretrain.ReliableRunner',
        randomness=dict(seed=0),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2), **hooks),
        log_processor=dict(window_size=3, custom_cfg=list(windows)),
    )
    runner.train()
    return runner


def remembered(runner) -> dict[str, int]:
    scalars = runner.message_hub.log_scalars
    return {name: len(buffer.data[0]) for name, buffer in scalars.items()}


def lines(runner) -> list[dict[str, float]]:
    (path,) = Path(runner.work_dir).glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in one.items() if 'time' not in k and k != 'memory'} for one in entries]


OVER_AN_EPOCH = dict(
    data_src='loss', log_name='epoch_loss', method_name='mean', window_size='epoch'
)


@pytest.mark.parametrize('windows', [[], [OVER_AN_EPOCH]])
def test_log_lines_are_those_of_a_whole_history(tmp_path, windows):
    bounded = train(tmp_path / 'bounded', windows)
    whole = train(tmp_path / 'whole', windows, scalar_history=None)
    assert remembered(bounded)['train/loss'] == BATCHES
    assert remembered(whole)['train/loss'] == LAST
    assert max(remembered(bounded).values()) == BATCHES
    assert lines(bounded) == lines(whole)
    assert len(lines(whole)) == EPOCHS * (BATCHES // 2)


def test_a_window_over_the_run_needs_all(tmp_path):
    over_all = {**OVER_AN_EPOCH, 'window_size': 'global'}
    assert remembered(train(tmp_path, [over_all]))['train/loss'] == LAST


def test_the_longest_window_counts(tmp_path):
    runner = train(tmp_path, [{**OVER_AN_EPOCH, 'window_size': 7}])
    assert remembered(runner)['train/loss'] == 7


def test_a_long_history_of_a_checkpoint_is_cut(tmp_path):
    train(tmp_path, scalar_history=None)
    runner = build_runner(
        tmp_path,
        dino_config(),
        num_batches=BATCHES,
        max_epochs=EPOCHS + 1,
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(logger=dict(type='LoggerHook')),
    )
    runner._resume = True
    runner.train()
    # The default window is longer than an epoch here.
    assert remembered(runner)['train/loss'] == runner.log_processor.window_size == 10


def test_every_reliable_run_has_it_once(tmp_path):
    runner = train(tmp_path)
    assert sum(isinstance(hook, ScalarHistoryHook) for hook in runner.hooks) == 1
    assert any(isinstance(hook, LoggerHook) for hook in runner.hooks)
