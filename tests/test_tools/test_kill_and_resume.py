"""Runs of ``tools/train.py`` that are killed and resumed, against runs that are not."""

from __future__ import annotations

import json
import signal
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.tools import ROOT, ToolProcess, rank_environments, run_tool

BATCHES, EPOCHS, INTERVAL = 6, 3, 3
LAST = BATCHES * EPOCHS
#: Seconds in which every run ends. The slowest took 20 on busy cores.
BOUND = 200

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['hvs_mm', 'tests.helpers.kill_hook'])
train_dataloader = dict(
    batch_size=4, num_workers={workers}, dataset=dict(num_samples={images}))
train_cfg = dict(max_epochs={epochs})
default_hooks = dict(
    # Another number than that of the checkpoints: what was not logged yet must not be lost.
    logger=dict(interval=5),
    selection=dict(interval=5),
    # To draw a panel takes longer than all the iterations.
    panel={panel},
    checkpoint=dict(by_epoch=False, interval={interval}, max_keep_ckpts=2),
    kill=dict(type='KillHook', folder={faults!r}, **{kills!r}))
randomness = dict(seed={seed})
"""
#: Parts of the names of entries that differ between runs: times and memory.
_VARYING = ('time', 'memory', 'eta')


def write_config(
    folder: Path,
    method: str,
    workers: int = 0,
    seed: int | None = 0,
    images: int = 4 * BATCHES,
    panel: str = 'None',
    **kills: Any,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'config.py'
    path.write_text(
        CONFIG.format(
            base=str(ROOT / 'configs' / 'demo' / f'hvs_{method}.py'),
            workers=workers,
            images=images,
            epochs=EPOCHS,
            panel=panel,
            interval=INTERVAL,
            faults=str(folder),
            kills=kills,
            seed=seed,
        )
    )
    return path


def train(config: Path, *arguments: str) -> CompletedProcess:
    return run_tool('train', config, '--work-dir', config.parent / 'run', *arguments, timeout=BOUND)


def train_two(config: Path, *arguments: str) -> list[CompletedProcess]:
    """Train in two processes, none of which waits for the other forever."""
    arguments = ('--launcher', 'pytorch', '--work-dir', str(config.parent / 'run'), *arguments)
    ranks = [
        ToolProcess('train', config, *arguments, **environment)
        for environment in rank_environments(2)
    ]
    return [rank.wait(BOUND) for rank in ranks]


def train_through(config: Path, deaths: list[int]) -> list[str]:
    """Train, and resume after every death; returns the output of the processes."""
    said = []
    for number, expected in enumerate([*deaths, 0]):
        process = train(config, *(['--resume'] if number else []))
        said.append(process.stdout + process.stderr)
        assert process.returncode == expected, said[-1]
    return said


@pytest.fixture(scope='module')
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Configs of runs that nothing has happened to, which are trained once a method."""

    @cache
    def run(method: str) -> Path:
        config = write_config(tmp_path_factory.mktemp('unharmed') / method, method)
        train_through(config, [])
        return config

    return run


def final(config: Path) -> dict[str, Any]:
    path = config.parent / 'run' / f'iter_{LAST}.pth'
    return torch.load(path, map_location='cpu', weights_only=False)


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """All numbers of a checkpoint, by their place in it."""
    if hasattr(value, 'data') and hasattr(value, 'current'):
        # MMEngine's history of a scalar.
        value = dict(zip(('log', 'count'), value.data))
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {name: value}
    return {k: v for key, x in items for k, v in flat(x, f'{name}/{key}').items()}


def assert_same_but_times(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit, but for times and memory."""
    one, other = flat(one), flat(other)
    kept = {k for k in one if not any(word in k for word in _VARYING)}
    assert kept == {k for k in other if not any(word in k for word in _VARYING)}
    assert len(kept) > 100
    differing = [name for name in kept if not np.array_equal(one[name], other[name])]
    assert not differing


def states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    hub = checkpoint['message_hub']
    # Paths differ.
    info = {k: v for k, v in hub['runtime_info'].items() if 'ckpt' not in k and k != 'cfg'}
    return {
        'weights': checkpoint['state_dict'],
        'optimizer': checkpoint['optimizer'],
        'schedules': checkpoint['param_schedulers'],
        'position': {key: checkpoint['meta'][key] for key in ('epoch', 'iter', 'seed')},
        'scalars': dict(hub['log_scalars']),
        'info': {k: v for k, v in info.items() if isinstance(v, (int, float, list, dict))},
    }


def logs(config: Path) -> dict[tuple[int, bool], dict[str, float]]:
    """Log lines and selection statistics of all processes of a run, by step.

    Health is left out: a process measures it on images that it has loaded itself.
    """
    found = {}
    for path in sorted((config.parent / 'run').glob('*/vis_data/*.json')):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if any(name.startswith('health/') for name in entry):
                continue
            found[entry['step'], 'selection/images' in entry] = {
                k: v for k, v in entry.items() if not any(w in k for w in _VARYING)
            }
    return found


# Behind a checkpoint that holds statistics not logged yet; and after the resume the first iteration
# that is done again: no checkpoint between.
FIRST = BATCHES + INTERVAL + 2
SECOND = BATCHES + INTERVAL + 1
RANDOM = int(np.random.default_rng(7).integers(INTERVAL, LAST))
KILLED = -signal.SIGKILL


@pytest.mark.parametrize(
    ('method', 'settings', 'deaths'),
    [
        # Twice in a row, and while a checkpoint is written.
        (
            'simsiam',
            {'workers': 2, 'after': [FIRST, SECOND], 'writing': [LAST - INTERVAL]},
            [KILLED, KILLED, -signal.SIGXFSZ],
        ),
        # Right behind the end of an epoch.
        ('dino', {'after': [BATCHES + 1, 2 * BATCHES]}, [KILLED] * 2),
        # The panel selects views, too.
        pytest.param(
            'ibot',
            {'workers': 2, 'panel': 'dict(interval=100)', 'after': [RANDOM]},
            [KILLED],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, unharmed, method, settings, deaths):
    whole = unharmed(method)
    killed = write_config(tmp_path / 'killed', method, **settings)
    said = train_through(killed, deaths)
    assert 'resumed from' in said[-1]
    assert_same_but_times(states(final(whole)), states(final(killed)))
    assert logs(whole) == logs(killed)
    # Nothing half written is left, and no more than two checkpoints.
    names = sorted(p.name for p in (killed.parent / 'run').glob('*.pth'))
    assert names == [f'iter_{LAST - INTERVAL}.pth', f'iter_{LAST}.pth']
    assert not list((killed.parent / 'run').glob('.*'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'kills', 'deaths'),
    [
        # Not the process that saves. Statistics of both are under way.
        ('simsiam', {'after': [FIRST], 'rank': 1}, 1),
        ('dino', {'after': [BATCHES + 2], 'writing': [2 * BATCHES]}, 2),
    ],
)
def test_two_processes_of_which_one_is_killed(tmp_path, method, kills, deaths):
    images = 2 * 4 * BATCHES
    whole = write_config(tmp_path / 'whole', method, images=images)
    for process in train_two(whole):
        assert process.returncode == 0, process.stderr
    killed = write_config(tmp_path / 'killed', method, images=images, **kills)
    for number in range(deaths):
        # The other one ends with an error.
        processes = train_two(killed, *['--resume'] * bool(number))
        assert sorted(process.returncode < 0 for process in processes) == [False, True]
        assert all(process.returncode for process in processes)
        assert not (killed.parent / 'run' / f'iter_{LAST}.pth').exists()
    first, second = train_two(killed, '--resume')
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert 'resumed from' in first.stdout + first.stderr
    assert_same_but_times(states(final(whole)), states(final(killed)))
    assert logs(whole) == logs(killed)


def test_a_run_without_a_seed_continues_with_its_own(tmp_path):
    killed = write_config(tmp_path / 'killed', 'simclr', seed=None, after=[BATCHES + 2])
    train_through(killed, [KILLED])
    end = final(killed)
    whole = write_config(tmp_path / 'whole', 'simclr', seed=end['meta']['seed'])
    train_through(whole, [])
    assert_same_but_times(states(final(whole)), states(end))
    assert logs(whole) == logs(killed)


def test_damaged_checkpoints_and_a_full_disk(tmp_path, unharmed):
    whole = unharmed('simsiam')
    config = write_config(tmp_path / 'faulty', 'simsiam', after=[10], full=[15])
    work_dir = config.parent / 'run'

    assert train(config).returncode == KILLED
    # Half of the newest is gone; the pointer to it, too.
    newest, before = work_dir / 'iter_9.pth', work_dir / 'iter_6.pth'
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    (work_dir / 'last_checkpoint').write_text('')

    process = train(config, '--resume')
    said = process.stdout + process.stderr
    assert f'The checkpoint {newest} is damaged and passed over' in said
    assert f'Going on from {before}.' in said
    # The disk is full at iteration 15.
    assert process.returncode == 1
    assert 'Traceback' not in said
    error = process.stderr.strip().splitlines()[-1]
    assert error.startswith(f'error: {work_dir / "iter_15.pth"} cannot be written (File too large)')
    assert f'The last good checkpoint is {work_dir / "iter_12.pth"}.' in error
    assert '--resume' in error
    assert not (work_dir / 'iter_15.pth').exists()

    config = write_config(tmp_path / 'faulty', 'simsiam')
    process = train(config, '--resume')
    assert process.returncode == 0, process.stderr
    assert_same_but_times(states(final(whole)), states(final(config)))

    for path in work_dir.glob('*.pth'):
        path.write_bytes(b'')
    process = train(config, '--resume')
    assert process.returncode == 1
    assert 'no checkpoint of' in process.stderr
    assert 'it is empty' in process.stderr
    assert 'Traceback' not in process.stderr
