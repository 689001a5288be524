"""Studies small enough for a test, and results that nobody has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.tools import ROOT

IMAGES, BATCH, EPOCHS = 16, 8, 2

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['hvs_mm', 'tests.helpers.kill_hook'])
default_hooks = dict(kill=dict(type='KillHook', folder={faults!r}, **{kills!r}))
"""

STUDY = """
name = 'tiny'
methods = dict(simsiam=dict(baseline={baseline!r}, selection={selection!r}))
arms = dict(
    baseline=dict(config='baseline'),
    hardest=dict(config='selection'),
    random=dict(config='selection', cfg_options={{'model.selector': 'random'}}),
    of6=dict(config='selection', candidates=[6]))
cfg_options = {{
    'train_dataloader.dataset.num_samples': {images},
    'train_dataloader.batch_size': {batch},
    'default_hooks.logger.interval': 1,
}}
runs = [dict(arms={arms!r}, epochs=[{epochs}], seeds={seeds!r})]
evaluation = dict(
    knn=dict(k=3, queries=dict(type='ShapesDataset', split='val', num_samples=20)),
    linear=dict(C=0.5))
"""


def write_study(
    folder: Path,
    arms: tuple[str, ...] = ('baseline', 'hardest'),
    seeds: tuple[int, ...] = (0,),
    **kills: list[int],
) -> Path:
    """Write the file of a study.

    Args:
        folder: Where to.
        arms: To run.
        seeds: Seeds of each arm.
        kills: When runs with selection die, as for ``tests.helpers.kill_hook.KillHook``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    selection = ROOT / 'configs/demo/hvs_simsiam.py'
    killed = folder / 'killed.py'
    killed.write_text(CONFIG.format(base=str(selection), faults=str(folder), kills=kills))
    path = folder / 'study.py'
    path.write_text(
        STUDY.format(
            baseline='configs/demo/simsiam.py',
            selection=str(killed),
            images=IMAGES,
            batch=BATCH,
            epochs=EPOCHS,
            arms=list(arms),
            seeds=list(seeds),
        )
    )
    return path


def rewritten(path: Path, old: str, new: str) -> Path:
    """The file with one text in place of another."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def made_up(
    arm: str,
    seed: int,
    knn: float,
    cpu: float = 10.0,
    method: str = 'simsiam',
    epochs: int = 3,
    gaps: list[float] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """A line of results that has no run."""
    numbers = list(range(epochs + 1))
    selection = None
    if gaps is not None:
        selection = {
            'epoch': numbers[1:],
            'iou_kept': [0.4 + gap for gap in gaps],
            'iou_all': [0.4] * epochs,
            'iou_gap': gaps,
        }
    return {
        'study': 'made_up',
        'run': f'{method}-{arm}-e{epochs}-s{seed}',
        'method': method,
        'arm': arm,
        'epochs': epochs,
        'seed': seed,
        'config_hash': f'{method}{arm}{epochs}{seed}',
        'revision': 'a' * 40,
        'dirty': False,
        'versions': {'hvs_mm': '0.1.0', 'torch': '2.10.0'},
        'device': 'none',
        'threads': 1,
        'jobs': 2,
        'started': f'2026-01-0{seed + 1}T00:00:00+00:00',
        'seconds': 2 * cpu,
        'cpu_seconds': cpu,
        'knn': knn,
        'linear': knn + 1.0,
        'curve': {
            'epoch': numbers,
            'seconds': [2 * cpu * n / epochs for n in numbers],
            'cpu_seconds': [cpu * n / epochs for n in numbers],
            'knn': [20 + (knn - 20) * n / epochs for n in numbers],
        },
        'selection': selection,
        **others,
    }


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))
    return path
