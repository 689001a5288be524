"""What lies in a folder of checkpoints at any time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from hvs_mm.engine import CheckpointError, SafeCheckpointHook
from tests.tiny_dino import build_runner, dino_config


class Spy(Hook):
    """Notes the checkpoints that are there when another one is about to be written."""

    def __init__(self):
        self.seen = []

    def before_save_checkpoint(self, runner, checkpoint):
        self.seen.append(names(runner))


def names(runner):
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def build(work_dir, **checkpoint):
    checkpoint = dict(type='CheckpointHook', **checkpoint)
    return build_runner(
        work_dir,
        dino_config(),
        num_batches=2,
        max_epochs=4,
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=checkpoint),
    )


def test_the_old_one_stays_until_the_new_one_is_there(tmp_path):
    runner = build(tmp_path, interval=1, max_keep_ckpts=1)
    assert any(isinstance(hook, SafeCheckpointHook) for hook in runner.hooks)
    spy = Spy()
    runner.register_hook(spy)
    runner.train()
    assert spy.seen == [[], ['epoch_1.pth'], ['epoch_2.pth'], ['epoch_3.pth']]
    assert names(runner) == ['epoch_4.pth']


def test_what_was_kept_before_a_resume_goes_in_turn(tmp_path):
    runner = build(tmp_path, interval=1, by_epoch=False, max_keep_ckpts=3)
    runner.train_loop._max_epochs = 2
    runner.train()
    assert names(runner) == ['iter_2.pth', 'iter_3.pth', 'iter_4.pth']
    (tmp_path / '.iter_5.pth.unfinished').write_text('half')
    runner = build(tmp_path, interval=1, by_epoch=False, max_keep_ckpts=3)
    runner._resume = True
    runner.train()
    assert runner.iter == 8
    assert names(runner) == ['iter_6.pth', 'iter_7.pth', 'iter_8.pth']
    assert not list(tmp_path.glob('.*'))


def test_none_is_forgotten_by_a_second_death_soon_after_a_resume(tmp_path):
    class Death(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 4:
                raise KeyboardInterrupt

    settings = dict(interval=1, by_epoch=False, max_keep_ckpts=2)
    runner = build(tmp_path, **settings)
    runner.train_loop._max_epochs = 2
    runner.train()
    runner = build(tmp_path, **settings)
    runner._resume = True
    runner.register_hook(Death())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert names(runner) == ['iter_4.pth', 'iter_5.pth']
    runner = build(tmp_path, **settings)
    runner._resume = True
    runner.train()
    assert names(runner) == ['iter_7.pth', 'iter_8.pth']


def test_all_are_kept_by_default(tmp_path):
    runner = build(tmp_path, interval=1)
    runner.train()
    assert names(runner) == [f'epoch_{epoch}.pth' for epoch in (1, 2, 3, 4)]


@pytest.mark.parametrize('number', [0, -2])
def test_bad_numbers(number):
    with pytest.raises(ValueError, match=f'max_keep_ckpts={number} '):
        SafeCheckpointHook(max_keep_ckpts=number)


def test_a_failed_write_leaves_nothing_and_names_the_last_good_one(tmp_path, monkeypatch):
    runner = build(tmp_path, interval=1, max_keep_ckpts=1)

    class Unwritable(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            if runner.epoch == 2:
                raise OSError(28, 'No space left on device')

    runner.register_hook(Unwritable())
    with pytest.raises(CheckpointError, match='cannot be written') as raised:
        runner.train()
    assert str(tmp_path / 'epoch_3.pth') in str(raised.value)
    assert f'The last good checkpoint is {tmp_path / "epoch_2.pth"}.' in str(raised.value)
    assert names(runner) == ['epoch_2.pth']
    assert torch.load(tmp_path / 'epoch_2.pth', weights_only=False)['meta']['epoch'] == 2
