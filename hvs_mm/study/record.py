"""What is written down of a finished run."""

from __future__ import annotations

import hashlib
import importlib
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..reports import selection_series
from ..reports.run import read_runs
from ..reports.selection_series import Period
from .curve_hook import Curve

_ROOT = Path(__file__).resolve().parents[2]
#: What the code of a run is made of.
_CODE = ('hvs_mm', 'configs', 'tools')
_PACKAGES = ('hvs_mm', 'torch', 'mmengine', 'mmpretrain', 'mmcv', 'numpy')
#: Of an epoch's selection, over its images.
_SELECTION = (
    'iou_kept',
    'iou_all',
    'iou_gap',
    'lowest_iou',
    'lowest_iou_chance',
    'local_iou_kept',
    'local_iou_all',
    'center_distance_kept',
    'center_distance_all',
    'color_kept',
    'color_all',
    'masked_kept',
    'masked_all',
    'score_gap',
    'choice_entropy',
)
_DIGITS = 6


def describe_curve(curve: Curve) -> dict[str, list[Any]]:
    """The curve with as many digits as say something; times in seconds, accuracies in percent."""
    return {
        'epoch': curve.epoch,
        'steps': curve.steps,
        'seconds': [_rounded(value, 2) for value in curve.seconds],
        'cpu_seconds': [_rounded(value, 2) for value in curve.cpu_seconds],
        'loss': [_significant(value) for value in curve.loss],
        'knn': [_rounded(value, 3) for value in curve.knn],
    }


def describe_selection(work_dir: str | Path) -> dict[str, Any] | None:
    """What ``SelectionStatsHook`` logged in a run, by epoch.

    Args:
        work_dir: Of the run.

    Returns:
        ``epoch`` and lists of the statistics of ``docs/what_is_selected.md``, those that were
        logged; ``images`` that were counted in all; ``pairs``, of the last epoch, how often each
        combination of target views was kept. ``None`` if nothing was logged.
    """
    periods = selection_series(read_runs([work_dir])[0])
    if not periods:
        return None
    columns = {name: _column(periods, name) for name in _SELECTION}
    pairs = {
        name.removeprefix('kept_'): _rounded(value, 4)
        for name, value in periods[-1].means.items()
        if name.startswith('kept_') and '-' in name
    }
    return {
        'epoch': [period.position for period in periods],
        'images': sum(period.images for period in periods),
        **{name: column for name, column in columns.items() if column is not None},
        'pairs': pairs,
    }


def _column(periods: Sequence[Period], name: str) -> list[float | None] | None:
    values = [_rounded(period.means.get(name), 4) for period in periods]
    return None if all(value is None for value in values) else values


def describe_code() -> dict[str, Any]:
    """The git revision and the versions that a run was made with.

    Returns:
        ``revision``, ``None`` where the package is no git checkout, ``dirty``, whether its code
        was changed since, and ``versions``.
    """
    revision = _git('rev-parse', 'HEAD')
    changes = _git('status', '--porcelain', '--', *_CODE) if revision else None
    versions = {name: importlib.import_module(name).__version__ for name in _PACKAGES}
    return {
        'revision': revision,
        'dirty': None if changes is None else bool(changes),
        'versions': {**versions, 'python': platform.python_version()},
    }


def any_dirty(starts: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether any of the processes of a run had code that was changed.

    Args:
        starts: What is known of each, with ``dirty``.

    Returns:
        ``None`` if none was, and one does not tell.
    """
    told = [start.get('dirty') for start in starts]
    return True if any(told) else None if None in told else False


def describe_device() -> str:
    """The name of the GPU, or of the CPU if there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path('/proc/cpuinfo').read_text(errors='replace').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def describe_machine() -> str | None:
    """What tells this machine from others of the same device, until it is started again.

    Returns:
        Eight hexadecimal digits, of which nobody learns anything else; ``None`` where the system
        has no ID of its start, which Linux has.
    """
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_bytes()
    except OSError:
        return None
    return hashlib.sha256(b'hvs_mm.study ' + boot.strip()).hexdigest()[:8]


def _git(*arguments: str) -> str | None:
    # A package that was installed may lie below somebody else's checkout.
    if not (_ROOT / '.git').exists():
        return None
    try:
        done = subprocess.run(
            ['git', '-C', str(_ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with ``None`` for what JSON has no numbers for."""
    return {key: _finite(value) for key, value in record.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return finite(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _significant(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f'{value:.{_DIGITS}g}')
