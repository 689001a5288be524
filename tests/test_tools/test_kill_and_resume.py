"""Runs of ``tools/train.py`` that are killed and resumed, against runs that are not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

# Up to five trainings a test, which take minutes on busy cores.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
BATCHES, EPOCHS, INTERVAL = 6, 3, 3
LAST = BATCHES * EPOCHS

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['hvs_mm', 'tests.faults'])
train_dataloader = dict(
    batch_size=4, num_workers={workers}, dataset=dict(num_samples={images}))
train_cfg = dict(max_epochs={epochs})
default_hooks = dict(
    # Another number than that of the checkpoints: what was not logged yet must not be lost.
    logger=dict(interval=5),
    selection=dict(interval=5),
    panel=dict(interval=100),
    checkpoint=dict(by_epoch=False, interval={interval}, max_keep_ckpts=2),
    kill=dict(type='KillHook', folder={faults!r}, **{kills!r}))
randomness = dict(seed={seed})
"""
SIMCLR = """
model = dict(
    algorithm=dict(
        _delete_=True,
        type='SimCLR',
        backbone={{_base_.model.algorithm.backbone}},
        neck=dict(
            type='NonLinearNeck', in_channels=64, hid_channels=32, out_channels=16, num_layers=2),
        head=dict(
            type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.1)))
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05))
"""
#: What a log says of times and of the machine.
_OF_THE_MACHINE = ('time', 'memory', 'eta')


def write_config(
    folder: Path,
    method: str,
    workers: int = 0,
    seed: int | None = 0,
    images: int = 4 * BATCHES,
    **kills: Any,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    base = 'simsiam' if method == 'simclr' else method
    text = CONFIG.format(
        base=str(ROOT / 'configs' / 'demo' / f'hvs_{base}.py'),
        workers=workers,
        images=images,
        epochs=EPOCHS,
        interval=INTERVAL,
        faults=str(folder),
        kills=kills,
        seed=seed,
    )
    path = folder / 'config.py'
    path.write_text(text + (SIMCLR if method == 'simclr' else ''))
    return path


def train(
    config: Path, *arguments: str, processes: int | None = None
) -> subprocess.CompletedProcess:
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    command = [sys.executable]
    if processes is not None:
        command += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
        arguments = ('--launcher', 'pytorch', *arguments)
    command += ['tools/train.py', config, '--work-dir', config.parent / 'run']
    return subprocess.run(
        [str(part) for part in (*command, *arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )


def train_through(config: Path, deaths: list[int]) -> list[str]:
    """Train, and resume after every death. What the processes said."""
    said = []
    for number, expected in enumerate([*deaths, 0]):
        process = train(config, *(['--resume'] if number else []))
        said.append(process.stdout + process.stderr)
        assert process.returncode == expected, said[-1]
    return said


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


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit, but for what is of the machine."""
    one, other = flat(one), flat(other)
    kept = {k for k in one if not any(word in k for word in _OF_THE_MACHINE)}
    assert kept == {k for k in other if not any(word in k for word in _OF_THE_MACHINE)}
    assert len(kept) > 100
    differing = [name for name in kept if not np.array_equal(one[name], other[name])]
    assert not differing


def states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    hub = checkpoint['message_hub']
    # Paths and what is of the machine.
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
    """Log lines and selection statistics of all processes of a run, by step."""
    found = {}
    for path in sorted((config.parent / 'run').glob('*/vis_data/*.json')):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            found[entry['step'], 'selection/images' in entry] = {
                k: v for k, v in entry.items() if not any(w in k for w in _OF_THE_MACHINE)
            }
    return found


# Behind a checkpoint that holds statistics not logged yet; and after the resume the first iteration
# that is done again: no checkpoint between.
FIRST = BATCHES + INTERVAL + 2
SECOND = BATCHES + INTERVAL + 1
RANDOM = int(np.random.default_rng(7).integers(INTERVAL, LAST))
KILLED = -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'workers', 'kills', 'deaths'),
    [
        # Twice in a row, and while a checkpoint is written.
        (
            'simsiam',
            2,
            {'after': [FIRST, SECOND], 'writing': [LAST - INTERVAL]},
            [KILLED, KILLED, -signal.SIGXFSZ],
        ),
        # Right behind the end of an epoch.
        ('dino', 0, {'after': [BATCHES + 1, 2 * BATCHES]}, [KILLED] * 2),
        ('ibot', 2, {'after': [RANDOM]}, [KILLED]),
    ],
)
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, method, workers, kills, deaths):
    whole = write_config(tmp_path / 'whole', method)
    train_through(whole, [])
    killed = write_config(tmp_path / 'killed', method, workers, **kills)
    said = train_through(killed, deaths)
    assert 'resumed epoch' in said[-1]
    assert_same(states(final(whole)), states(final(killed)))
    assert logs(whole) == logs(killed)
    # Nothing half written is left, and no more than two checkpoints.
    names = sorted(p.name for p in (killed.parent / 'run').glob('*.pth'))
    assert names == [f'iter_{LAST - INTERVAL}.pth', f'iter_{LAST}.pth']
    assert not list((killed.parent / 'run').glob('.*'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'kills', 'deaths'),
    [
        # Not the process that saves: it is ended by the launcher. Statistics of both are under way.
        ('simsiam', {'after': [FIRST], 'rank': 1}, 1),
        ('dino', {'after': [BATCHES + 2], 'writing': [2 * BATCHES]}, 2),
    ],
)
def test_two_processes_of_which_one_is_killed(tmp_path, method, kills, deaths):
    images = 2 * 4 * BATCHES
    whole = write_config(tmp_path / 'whole', method, images=images)
    process = train(whole, processes=2)
    assert process.returncode == 0, process.stderr
    killed = write_config(tmp_path / 'killed', method, images=images, **kills)
    for number in range(deaths):
        assert train(killed, *['--resume'] * bool(number), processes=2).returncode != 0
        assert not (killed.parent / 'run' / f'iter_{LAST}.pth').exists()
    process = train(killed, '--resume', processes=2)
    assert process.returncode == 0, process.stderr
    assert 'resumed epoch' in process.stdout + process.stderr
    assert_same(states(final(whole)), states(final(killed)))
    assert logs(whole) == logs(killed)


def test_a_run_without_a_seed_goes_on_with_its_own(tmp_path):
    killed = write_config(tmp_path / 'killed', 'simclr', seed=None, after=[BATCHES + 2])
    train_through(killed, [KILLED])
    end = final(killed)
    whole = write_config(tmp_path / 'whole', 'simclr', seed=end['meta']['seed'])
    train_through(whole, [])
    assert_same(states(final(whole)), states(end))
    assert logs(whole) == logs(killed)


@pytest.mark.slow
def test_damaged_checkpoints_and_a_full_disk(tmp_path):
    whole = write_config(tmp_path / 'whole', 'simsiam')
    train_through(whole, [])
    config = write_config(tmp_path / 'faulty', 'simsiam', after=[10], full=[15])
    work_dir = config.parent / 'run'

    train_through_one = train(config)
    assert train_through_one.returncode == KILLED
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
    assert_same(states(final(whole)), states(final(config)))

    for path in work_dir.glob('*.pth'):
        path.write_bytes(b'')
    process = train(config, '--resume')
    assert process.returncode == 1
    assert 'no checkpoint of' in process.stderr
    assert 'it is empty' in process.stderr
    assert 'Traceback' not in process.stderr
