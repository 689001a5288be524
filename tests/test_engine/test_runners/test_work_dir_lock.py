"""One run in a folder at a time, also after kills and on several hosts."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from hvs_mm.engine import CheckpointError, WorkDirLock
from hvs_mm.engine.runners import work_dir_lock
from hvs_mm.engine.runners.work_dir_lock import LOCK
from tests.helpers.tiny_dino import build_runner, dino_config


def hold(folder):
    WorkDirLock(folder).take()
    signal.pause()


@pytest.fixture
def owner(tmp_path):
    """Another process that has the lock."""
    process = multiprocessing.get_context('fork').Process(target=hold, args=(tmp_path,))
    process.start()
    end = time.monotonic() + 30
    while not (tmp_path / LOCK).exists() and time.monotonic() < end:
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


@pytest.fixture
def lock(tmp_path):
    """A lock whose signs of life end with the test."""
    lock = WorkDirLock(tmp_path)
    yield lock
    lock.release()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, owner, lock):
    with pytest.raises(ValueError, match=rf'process {owner.pid} on \S+ has trained in it since 20'):
        WorkDirLock(tmp_path).take()
    owner.kill()
    owner.join()
    lock.take()
    assert lock.is_mine()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_a_number_that_came_again(tmp_path, owner, lock):
    found = json.loads((tmp_path / LOCK).read_text())
    found['started'] -= 1
    (tmp_path / LOCK).write_text(json.dumps(found))
    lock.take()
    assert lock.is_mine()


@pytest.mark.parametrize('is_alive', [True, False])
def test_another_host_is_watched(tmp_path, monkeypatch, capsys, owner, lock, is_alive):
    monkeypatch.setattr(work_dir_lock, '_STALE', 0.3)
    path = tmp_path / LOCK
    found = json.loads(path.read_text())
    # Killed or not, nothing of it can be seen from here but the file.
    path.write_text(json.dumps({**found, 'host': 'node7', 'place': 'node7'}))
    timer = threading.Timer(0.1, os.utime, [path])
    if is_alive:
        timer.start()
        with pytest.raises(ValueError, match=rf'process {owner.pid} on node7'):
            lock.take()
    else:
        lock.take()
        assert json.loads(path.read_text())['pid'] == os.getpid()
    timer.cancel()
    assert 'on node7: waiting' in capsys.readouterr().out


def test_without_hard_links(tmp_path, monkeypatch, lock):
    def refuse(source, target):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refuse)
    lock.take()
    assert lock.is_mine()
    with pytest.raises(ValueError, match=f'process {os.getpid()} on'):
        WorkDirLock(tmp_path).take()


def test_signs_of_life(tmp_path, monkeypatch, lock):
    monkeypatch.setattr(work_dir_lock, '_BEAT', 0.01)
    lock.take()
    before = (tmp_path / LOCK).stat().st_mtime_ns
    end = time.monotonic() + 30
    while (tmp_path / LOCK).stat().st_mtime_ns == before:
        assert time.monotonic() < end
        time.sleep(0.01)


def race(folder, barrier, wins):
    barrier.wait()
    try:
        WorkDirLock(folder).take()
    except ValueError:
        return
    wins.put(os.getpid())
    # The others must find it alive.
    barrier.wait(30)


def test_of_many_that_find_a_stale_lock_one_gets_it(tmp_path, owner):
    owner.kill()
    owner.join()
    context = multiprocessing.get_context('fork')
    barrier, wins = context.Barrier(8), context.SimpleQueue()
    racers = [context.Process(target=race, args=(tmp_path, barrier, wins)) for _ in range(8)]
    for racer in racers:
        racer.start()
    first = wins.get()
    for racer in racers:
        if racer.pid != first:
            racer.join(30)
    assert wins.empty()
    assert json.loads((tmp_path / LOCK).read_text())['pid'] == first
    for racer in racers:
        racer.kill()


def build(work_dir, *hooks):
    runner = build_runner(
        work_dir,
        dino_config(),
        num_batches=2,
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    )
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def test_two_runs_in_one_work_dir(tmp_path, owner):
    runner = build(tmp_path)
    with pytest.raises(CheckpointError, match=f'process {owner.pid} on'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))
    owner.kill()
    owner.join()
    runner.train()
    assert (tmp_path / 'epoch_2.pth').is_file()
    assert not (tmp_path / LOCK).exists()


def test_two_runs_with_one_folder_of_checkpoints(tmp_path):
    out = tmp_path / 'out'
    other = WorkDirLock(out / 'run')
    other.take()
    runner = build(tmp_path / 'seed1' / 'run')
    runner.cfg.default_hooks.checkpoint.out_dir = str(out)
    with pytest.raises(CheckpointError, match=rf'{out}/run: process {os.getpid()} on'):
        runner.train()
    # It keeps none that it has taken before.
    assert not (tmp_path / 'seed1' / 'run' / LOCK).exists()
    other.release()
    runner.train()
    assert not list(tmp_path.rglob(LOCK))


def test_a_process_that_nobody_asks_for(tmp_path, owner, lock):
    os.kill(owner.pid, signal.SIGKILL)
    # Its parent, this process, does not wait for it: it stays a zombie.
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if Path(f'/proc/{owner.pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z':
            break
        time.sleep(0.01)
    lock.take()
    assert lock.is_mine()


def test_a_lock_that_was_removed(tmp_path):
    class Remover(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            (tmp_path / 'run' / LOCK).unlink(missing_ok=True)

    with pytest.raises(CheckpointError, match=r'run was removed while the run trained, .*start'):
        build(tmp_path / 'run', Remover()).train()


def test_a_run_that_was_taken_over_saves_nothing_more(tmp_path):
    class Thief(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 3:
                found = json.loads((tmp_path / LOCK).read_text())
                (tmp_path / LOCK).write_text(json.dumps({**found, 'token': 'other'}))

    with pytest.raises(CheckpointError, match='not of this process any more'):
        build(tmp_path, Thief()).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    # It is the other one's.
    assert (tmp_path / LOCK).exists()
