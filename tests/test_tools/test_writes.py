"""Where tools write: into the work dir, to the path that is named, or into the current folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from hvs_mm.engine import build_model
from tests.helpers import published
from tests.helpers.ranks import forkserver
from tests.helpers.studies import made_up, write_lines, write_study
from tests.helpers.tools import ROOT, load_tool
from tests.test_tools.test_hostile_text import run_named
from tests.test_tools.test_trust import TOOLS

DEMO = str(ROOT / 'configs' / 'demo' / 'hvs_simsiam.py')
LINEAR = str(ROOT / 'configs' / 'demo' / 'linear.py')
LOADER = 'train_dataloader'
TRAINING = [
    f'{LOADER}.num_workers=0', f'{LOADER}.persistent_workers=False', f'{LOADER}.batch_size=8',
    f'{LOADER}.dataset.num_samples=16', 'train_cfg.max_epochs=1',
    'default_hooks.panel.num_images=1',
]  # fmt: skip

#: Than the 20 neighbors that the demo asks for.
LARGER = f'{LOADER}.dataset.num_samples=24'

#: Of every tool, a command line that works, from the folder with its inputs and the one it may
#: write to; and the files that it writes into the current folder if nobody says where.
Command = Callable[[Path, Path], list[Any]]
COMMANDS: dict[str, tuple[Command, set[str]]] = {
    'analysis/channel_statistics': (lambda given, out: [given / 'images'], set()),
    'analysis/pair_loss_vs_iou': (
        lambda given, out: [DEMO, given / 'demo.pth', '--images', 24, '--batch-size', 8],
        {'pair_loss_vs_iou.png', 'pair_loss_vs_iou.json'},
    ),
    'analysis/plot_hardness': (
        lambda given, out: [given / 'hardness.json', '--out', out / 'x.png'], set()
    ),
    'analysis/selection_agreement': (
        lambda given, out: [
            DEMO, given / 'demo.pth', '--images', 4, '--batch-size', 2,
            '--variant', 'scale=0.5', '--json', out / 'x.json',
        ],
        set(),
    ),
    'analysis/selection_report': (lambda given, out: [run_named(out, 'run')], set()),
    'benchmarks/loader': (
        lambda given, out: [
            DEMO, '--images', given / 'images', '--num-images', 2, '--repeats', 1,
            '--json', out / 'x.json',
        ],
        set(),
    ),
    'benchmarks/step': (
        lambda given, out: [
            DEMO, '--batch-size', 2, '--repeats', 1, '--no-memory', '--json', out / 'x.json',
        ],
        set(),
    ),
    'benchmarks/throughput': (
        lambda given, out: [DEMO, '--images-per-second', 100, '--ratio', 1.6], set()
    ),
    'browse_views': (lambda given, out: [DEMO, '--number', 1], {'views.png'}),
    'compare': (
        lambda given, out: [run_named(given, 'run'), '--csv', out / 'x.csv'], {'compare.png'}
    ),
    'demo': (lambda given, out: ['--work-dir', out, '--cfg-options', *TRAINING, LARGER], set()),
    'benchmarks/communication': (
        lambda given, out: [DEMO, '--processes', 1, '--batch-size', 2], set()
    ),
    'benchmarks/device_photometry': (
        lambda given, out: [DEMO, '--batch-size', 2, '--batches', 1], set()
    ),
    # Time for little more than to start.
    'benchmarks/gpu_check': (
        lambda given, out: ['--tiny', '--minutes', 0.4], {'gpu_check.json', 'gpu_check.md'}
    ),
    'benchmarks/selection_stats': (
        lambda given, out: [
            DEMO, '--iterations', 7, '--interval', 2, '--cfg-options', *TRAINING[:2],
            f'{LOADER}.batch_size=2',
        ],
        set(),
    ),
    'dev/soak': (
        lambda given, out: ['--minutes', 0.01, '--mean-life', 0.5, '--work-dir', out / 'soak'],
        set(),
    ),
    'eval_knn': (
        lambda given, out: [
            DEMO, given / 'demo.pth', '--k', 1, '--num-workers', 0, '--device', 'cpu',
            '--cfg-options', f'{LOADER}.dataset.num_samples=20',
        ],
        {'knn_demo.json'},
    ),
    'extract_backbone': (
        lambda given, out: [given / 'demo.pth', out / 'x.pth', '--style', 'mmpretrain'], set()
    ),
    'model_converters/hvs_to_published': (
        lambda given, out: [converted(given), out / 'x.pth'], set()
    ),
    'model_converters/published_to_hvs': (
        lambda given, out: [given / 'published.pth', out / 'x.pth'], set()
    ),
    'study/report': (lambda given, out: [results_page(given, out)], set()),
    'study/run': (
        lambda given, out: [
            write_study(given, arms=('baseline',)), '--work-dir', out / 'runs',
            '--results', out / 'x.jsonl', '--one', 'simsiam-baseline-e2-s0',
        ],
        set(),
    ),
    'test': (
        lambda given, out: [
            LINEAR, given / 'linear.pth', '--work-dir', out, '--out', out / 'x.pkl',
            '--cfg-options', 'test_dataloader.num_workers=0',
            'test_dataloader.dataset.num_samples=16',
        ],
        set(),
    ),
    'train': (
        lambda given, out: [
            hostile_config(given), '--work-dir', out, '--cfg-options', *TRAINING,
            f'load_from={given / "demo.pth"}',
        ],
        set(),
    ),
}  # fmt: skip


def hostile_config(folder: Path) -> Path:
    """A config whose names lead out of the work dir."""
    path = folder / 'train.py'
    path.write_text(f"_base_ = {DEMO!r}\nexperiment_name = '../../../evil'\n")
    return path


def results_page(given: Path, out: Path) -> Path:
    """A page with a plot, of results that lie elsewhere."""
    lines = write_lines(given / 'x.jsonl', [made_up('baseline', 0, 50.0)])
    block = {'plot': 'accuracy_over_epochs', 'lines': str(lines), 'file': 'x.svg'}
    path = out / 'page.md'
    path.write_text(f'<!-- study: {json.dumps(block)} -->\n<!-- end -->\n')
    return path


def converted(folder: Path) -> Path:
    load_tool('model_converters/published_to_hvs').main(
        [str(folder / 'published.pth'), str(folder / 'hvs.pth')]
    )
    return folder / 'hvs.pth'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('inputs')
    (folder / 'images').mkdir(parents=True)
    for config, name in ((DEMO, 'demo'), (LINEAR, 'linear')):
        model = build_model(Config.fromfile(config))
        torch.save({'state_dict': model.state_dict(), 'meta': {'epoch': 1}}, folder / f'{name}.pth')
    torch.save(published.dino_checkpoint(), folder / 'published.pth')
    row = {'selector': 'hardest', 'hardness': 1.0, 'hardness_error': 0.0}
    (folder / 'hardness.json').write_text(json.dumps({'config': DEMO, 'selectors': [row]}))
    for number in range(2):
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / f'images/{number}.jpg')
    return folder


@pytest.fixture
def given(inputs: Path, tmp_path: Path) -> Path:
    """The inputs of the tools: checkpoints and images, next to which nobody may write."""
    return shutil.copytree(inputs, tmp_path / 'given')


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """All files below a folder, with their size and the time they were changed."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob('*')
        if path.is_file()
    }


WRITE_NOTHING = {
    'analysis/channel_statistics', 'benchmarks/communication', 'benchmarks/device_photometry',
    'benchmarks/selection_stats', 'benchmarks/throughput',
}  # fmt: skip

#: Tools that CI also runs in full, or that take long.
SLOW = {'benchmarks/gpu_check', 'demo', 'dev/soak'}

_written: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    paths: tuple[Any, ...] = ()
    if event == 'open' and isinstance(arguments[2], int):
        changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        paths = arguments[:1] if arguments[2] & changes else ()
    elif event == 'os.mkdir':
        # That a folder is there is often found out by making it.
        paths = () if os.path.isdir(arguments[0]) else arguments[:1]
    elif event in ('os.remove', 'os.rmdir', 'os.chmod', 'os.utime'):
        # With a descriptor of its folder only what is in a tree that shutil removes.
        paths = arguments[:1] if arguments[-1] == -1 else ()
    elif event in ('shutil.rmtree', 'os.truncate'):
        paths = arguments[:1]
    elif event in ('os.rename', 'os.link', 'os.symlink'):
        paths = arguments[:2]
    _written.extend(os.path.abspath(os.fsdecode(p)) for p in paths if not isinstance(p, int))


@contextmanager
def watched() -> Iterator[list[str]]:
    """The paths that Python opens for writing in this context, makes, moves or removes."""
    global _written
    if not _note_is_on:
        # It cannot be taken off again.
        sys.addaudithook(_note)
        _note_is_on.append(True)
    _written = found = []
    try:
        yield found
    finally:
        _written = None


_note_is_on: list[bool] = []


def test_no_tool_is_forgotten() -> None:
    # `make` calls those two: one writes nothing, the other the file that it is to rewrite.
    assert set(COMMANDS) == set(TOOLS) - {'dev/release', 'dev/upgrade'}


def test_the_watch_works(tmp_path: Path) -> None:
    with watched() as written:
        (tmp_path / 'x').write_text('')
        (tmp_path / 'x').read_text()
        (tmp_path / 'y').mkdir()
    assert written == [str(tmp_path / 'x'), str(tmp_path / 'y')]


@pytest.mark.parametrize(
    'tool',
    [pytest.param(t, marks=pytest.mark.slow) if t in SLOW else t for t in COMMANDS],
)
def test_where_tools_write(
    tool: str, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, here, temporary = (tmp_path / name for name in ('out', 'here', 'temporary'))
    for folder in (out, here, temporary):
        folder.mkdir()
    if tool == 'benchmarks/communication':
        # The server of its processes lives as long as this process, and so does its folder, whose
        # name must be short enough for a socket.
        forkserver()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    command, own = COMMANDS[tool]
    arguments = [str(argument) for argument in command(given, out)]
    before = snapshot(given)
    module = load_tool(tool)
    with watched() as written:
        module.main(arguments)
    assert snapshot(given) == before
    assert set(snapshot(here)) == own
    # Whatever was put aside for a while is gone, but for what torch 2.5 leaves in its processes.
    left = {path for path in snapshot(temporary) if '_remote_module_non_scriptable' not in path}
    assert left == set()
    assert {path.name for path in tmp_path.iterdir()} == {'given', 'out', 'here', 'temporary'}
    allowed = [out, temporary, *(here / name for name in own), *map(Path, ('/dev', '/proc/self'))]
    caches = ('matplotlib', 'fontconfig', 'torchinductor', '__pycache__')
    outside = [
        path
        for path in written
        if not any(Path(path).is_relative_to(place) for place in allowed)
        and not any(cache_name in path for cache_name in caches)
    ]
    assert outside == []
    if tool not in WRITE_NOTHING:
        assert own or snapshot(out)


def test_a_result_goes_into_the_work_dir_of_its_checkpoint(
    given: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (given / 'last_checkpoint').write_text('x')
    monkeypatch.chdir(tmp_path)
    arguments = COMMANDS['eval_knn'][0](given, tmp_path)
    load_tool('eval_knn').main([str(argument) for argument in arguments])
    assert (given / 'knn_demo.json').is_file()
    assert not (tmp_path / 'knn_demo.json').exists()
