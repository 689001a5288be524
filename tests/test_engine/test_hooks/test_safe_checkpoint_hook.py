"""What lies in a folder of checkpoints at any time."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook, LoggerHook

from hvs_mm.engine import CheckpointError, SafeCheckpointHook
from hvs_mm.utils import atomic_write as whole_files
from tests.helpers.tiny_dino import build_runner, dino_config


class Spy(Hook):
    """Notes the checkpoints that are there when another one is about to be written."""

    def __init__(self):
        self.seen = []

    def before_save_checkpoint(self, runner, checkpoint):
        self.seen.append(names(runner))


def names(runner):
    return names_in(Path(runner.work_dir))


def names_in(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def build(work_dir, max_epochs=4, **checkpoint):
    checkpoint = {'type': 'CheckpointHook', **checkpoint}
    return build_runner(
        work_dir,
        dino_config(),
        num_batches=2,
        max_epochs=max_epochs,
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


def test_a_run_that_goes_on_elsewhere_leaves_the_first_alone(tmp_path):
    first, fork = tmp_path / 'first', tmp_path / 'fork'
    build(first, interval=1, max_keep_ckpts=2).train()
    assert names_in(first) == ['epoch_3.pth', 'epoch_4.pth']
    # From a checkpoint in another folder, and from a copy of the folder.
    runner = build(fork, 5, interval=1, max_keep_ckpts=1)
    runner._resume, runner._load_from = True, str(first / 'epoch_3.pth')
    runner.train()
    assert names_in(fork) == ['epoch_5.pth']
    shutil.copytree(first, tmp_path / 'copy')
    runner = build(tmp_path / 'copy', 6, interval=1, max_keep_ckpts=1)
    runner._resume = True
    runner.train()
    assert names_in(tmp_path / 'copy') == ['epoch_6.pth']
    assert names_in(first) == ['epoch_3.pth', 'epoch_4.pth']


def test_no_file_is_removed_because_a_checkpoint_says_so(tmp_path):
    settings = dict(interval=1, max_keep_ckpts=1, save_best='acc', rule='greater')
    victims = [tmp_path / 'victim.pth', tmp_path / 'best_of_somebody.pth', tmp_path / 'run' / 'log']
    build(tmp_path / 'run', **settings).train()
    for victim in victims:
        victim.write_text('precious')
    path = tmp_path / 'run' / 'epoch_4.pth'
    for victim in victims:
        checkpoint = torch.load(path, weights_only=False)
        hub = checkpoint['message_hub']
        named = {'keep_ckpt_ids': [str(victim), '../victim.pth', -1], 'best_ckpt': str(victim)}
        hub['runtime_info'].update(named)
        hub['resumed_keys'].update(dict.fromkeys(named, True))
        torch.save(checkpoint, path)
        epochs = checkpoint['meta']['epoch'] + 1
        runner = build(tmp_path / 'run', epochs, **settings)
        runner._resume = True
        runner.train()
        hook = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
        hook.after_val_epoch(runner, {'acc': float(epochs)})
        assert all(victim.exists() for victim in victims)
        path = tmp_path / 'run' / f'epoch_{epochs}.pth'
        assert path.name in names_in(path.parent)
    assert [name for name in names_in(path.parent) if name[:4] != 'best'] == ['epoch_7.pth']


@pytest.mark.parametrize('indicators', ['acc', ['acc', 'top5']])
def test_the_best_one_stays_until_a_better_one_is_there(tmp_path, indicators):
    runner = build(tmp_path, interval=1, save_best=indicators, rule='greater')
    hook = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    seen = []

    class Spy(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            seen.append(sorted(path.name for path in Path(runner.work_dir).glob('best_acc*')))

    class Validation(Hook):
        accuracies = iter([10.0, 5.0, 20.0, 15.0])

        def after_train_epoch(self, runner):
            # As after MMEngine's loop has counted the epoch.
            runner.train_loop._epoch += 1
            accuracy = next(self.accuracies)
            hook.after_val_epoch(runner, {'acc': accuracy, 'top5': 50.0})
            runner.train_loop._epoch -= 1

    runner.register_hook(Spy())
    runner.register_hook(Validation(), priority='LOWEST')
    runner.train()
    assert sorted(path.name for path in tmp_path.glob('best_acc*')) == ['best_acc_epoch_3.pth']
    # While the better one was written, and when it was there.
    assert ['best_acc_epoch_1.pth'] in seen
    assert ['best_acc_epoch_1.pth', 'best_acc_epoch_3.pth'] in seen
    assert not any(one == [] for one in seen[3:])
    top5 = ['best_top5_epoch_1.pth'] if len(indicators) == 2 else []
    assert sorted(path.name for path in tmp_path.glob('best_top5*')) == top5


def test_a_pointer_that_cannot_be_written(tmp_path):
    runner = build(tmp_path, interval=1)

    class Blocked(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            if runner.epoch == 2:
                (tmp_path / 'last_checkpoint').unlink()
                (tmp_path / 'last_checkpoint').mkdir()

    runner.register_hook(Blocked())
    with pytest.raises(CheckpointError, match='last_checkpoint cannot be written') as raised:
        runner.train()
    assert f'The last good checkpoint is {tmp_path / "epoch_3.pth"}.' in str(raised.value)


def test_a_file_system_that_cannot_flush_folders(tmp_path, monkeypatch):
    flush = whole_files._flush

    def flush_files(path):
        if path.is_dir():
            raise OSError(errno.EINVAL, 'Invalid argument')
        flush(path)

    monkeypatch.setattr(whole_files, '_flush', flush_files)
    runner = build(tmp_path, interval=1)
    runner.train()
    assert names(runner)[-1] == 'epoch_4.pth'


def test_names_in_folders_of_their_own(tmp_path):
    runner = build(tmp_path, interval=1, max_keep_ckpts=1, filename_tmpl='ck/step_{}.pth')
    runner.train()
    assert [path.name for path in tmp_path.glob('ck/*')] == ['step_4.pth']


@pytest.mark.parametrize('kind', [CheckpointHook, 'mmengine.CheckpointHook'])
def test_whatever_way_mmengines_hook_is_named(tmp_path, kind):
    runner = build(tmp_path)
    runner._hooks.clear()
    # MMEngine 0.10.7 cannot print a config that holds a class.
    runner.register_default_hooks(dict(checkpoint=dict(type=kind, interval=1)))
    assert any(isinstance(hook, SafeCheckpointHook) for hook in runner.hooks)


def test_hooks_that_are_left_out(tmp_path):
    runner = build_runner(
        tmp_path,
        dino_config(),
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=None, finite_step=None, logger=None),
    )
    assert not any(isinstance(hook, CheckpointHook) for hook in runner.hooks)
    assert not any(isinstance(hook, LoggerHook) for hook in runner.hooks)


def test_a_pointer_to_what_is_gone(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_9.pth'))
    runner = build(tmp_path, interval=1)
    runner._resume = True
    runner.train()
    assert names(runner)[0] == 'epoch_1.pth'


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


def interims(folder):
    return sorted(path.name for path in folder.glob('interim_*'))


class Stop(Hook):
    """Ends a run, as a kill does, before it saves the checkpoint of an epoch."""

    priority = 'LOWEST'

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def test_by_time_between_the_epochs(tmp_path):
    """A run that is killed in every epoch advances, and ends as one that was not killed."""
    settings = dict(interval=1, max_keep_ckpts=2, minutes=1e-9)
    whole = build(tmp_path / 'whole', 2, interval=1, minutes=None)
    whole.train()
    for after in (1, 3):
        runner = build(tmp_path / 'parts', 2, **settings)
        runner._resume = True
        runner.register_hook(Stop(after))
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        saver = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
        saver.wait_until_saved()
        # One at a time, and as the last one.
        assert interims(tmp_path / 'parts') == [f'interim_iter_{after}.pth']
        pointer = (tmp_path / 'parts' / 'last_checkpoint').read_text()
        assert pointer == str(tmp_path / 'parts' / f'interim_iter_{after}.pth')
    runner = build(tmp_path / 'parts', 2, **settings)
    runner._resume = True
    runner.train()
    assert names(runner) == ['epoch_1.pth', 'epoch_2.pth']
    state = runner.model.state_dict()
    assert all(torch.equal(v, state[name]) for name, v in whole.model.state_dict().items())


def test_the_training_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    written, write = threading.Event(), Path.write_bytes
    done = []

    def write_slowly(path, content):
        # The disk is slow until two more steps are done.
        assert written.wait(60)
        write(path, content)

    class Steps(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            done.append(len(interims(tmp_path)))
            if len(done) == 3:
                written.set()

    monkeypatch.setattr(Path, 'write_bytes', write_slowly)
    runner = build(tmp_path, max_epochs=2, interval=100, minutes=0.5)
    saver = next(hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook))
    runner.register_hook(Steps())
    clock = iter([0.0, 31.0, *[32.0] * 50])
    monkeypatch.setattr(time, 'monotonic', lambda: next(clock, 32.0))
    runner.train()
    assert done[:3] == [0, 0, 0]
    assert saver.last_ckpt == str(tmp_path / 'epoch_2.pth')
    assert not interims(tmp_path)


def test_no_interim_one_beside_another(tmp_path):
    build(tmp_path, 1, interval=1, by_epoch=False, minutes=1e-9).train()
    assert names_in(tmp_path) == ['iter_1.pth', 'iter_2.pth']


def test_an_interim_one_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(path, content):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', refuse)
    with pytest.raises(CheckpointError, match=r'interim_iter_1\.pth cannot be written .No space'):
        build(tmp_path, interval=1, minutes=1e-9).train()
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('minutes', [0, -1, 'often'])
def test_bad_minutes(minutes):
    with pytest.raises(ValueError, match=r'minutes=.* must be a number above 0'):
        SafeCheckpointHook(minutes=minutes)
