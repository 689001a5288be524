"""Where a run was made, and what its hooks logged, as they stand in its line of results."""

from __future__ import annotations

import hashlib
import importlib
import math
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import hvs_mm
from hvs_mm.reports import read_runs, selection_series

_ROOT = Path(hvs_mm.__file__).resolve().parents[1]
#: Folders whose changes count as changed code.
_CODE = ('hvs_mm', 'configs', 'tools')
_PACKAGES = ('hvs_mm', 'torch', 'mmengine', 'mmpretrain', 'mmcv', 'numpy')
#: Statistics of the selection of an epoch, means over its images.
_SELECTION = ['iou_kept', 'iou_all', 'iou_gap', 'lowest_iou', 'lowest_iou_chance']
_SELECTION += ['local_iou_kept', 'local_iou_all', 'center_distance_kept', 'center_distance_all']
_SELECTION += ['color_kept', 'color_all', 'masked_kept', 'masked_all', 'score_gap']
_SELECTION += ['choice_entropy']


def describe_curve(curve: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The curve with as many digits as are meaningful; times in seconds, accuracies in percent."""
    formats = {'seconds': '.2f', 'cpu_seconds': '.2f', 'loss': '.6g', 'knn': '.3f'}
    kept = {name: values for name, values in curve.items() if name != 'images'}
    for name, digits in formats.items():
        kept[name] = [v if v is None else float(format(v, digits)) for v in kept[name]]
    return finite(kept)


def describe_selection(work_dir: str | Path) -> dict[str, Any] | None:
    """What ``SelectionStatsHook`` logged in a run.

    Returns:
        ``epoch`` and lists of the statistics of ``docs/what_is_selected.md`` that were logged;
        ``images``, the number counted in all; ``pairs``, how often the last epoch kept each
        combination of target views. ``None`` if nothing was logged.
    """
    periods = selection_series(read_runs([work_dir])[0])
    if not periods:
        return None
    series = {name: [period.means.get(name) for period in periods] for name in _SELECTION}
    logged = {
        name: [None if value is None else round(value, 4) for value in values]
        for name, values in series.items()
        if any(value is not None and math.isfinite(value) for value in values)
    }
    last = periods[-1].means.items()
    pairs = {key: round(value, 4) for key, value in last if re.fullmatch(r'kept_.*-.*', key)}
    found = {'epoch': [period.position for period in periods]}
    found |= {'images': sum(period.images for period in periods), **logged}
    return finite({**found, 'pairs': {key[len('kept_') :]: pairs[key] for key in pairs}})


def describe_start(jobs: int) -> dict[str, Any]:
    """When, where and with which code a process starts, with ``jobs`` runs at a time.

    ``revision`` of git and ``dirty``, whether the code has changes, are ``None`` where the package
    is no git checkout.
    """
    revision = _git('rev-parse', 'HEAD')
    changes = _git('status', '--porcelain', '--', *_CODE) if revision else None
    return {
        'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'revision': revision,
        'dirty': None if changes is None else bool(changes),
        'device': describe_device(),
        'machine': describe_machine(),
        'jobs': jobs,
    }


def describe_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a result."""
    versions = {name: importlib.import_module(name).__version__ for name in _PACKAGES}
    return {**versions, 'python': platform.python_version()}


def any_dirty(starts: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether any process of a run had changed code; ``None`` if none had and one is unknown."""
    known = [start.get('dirty') for start in starts]
    return True if any(known) else None if None in known else False


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
    """Eight hexadecimal digits that identify this machine until it is started again.

    They are a hash of the ID of its start, so they reveal nothing else. ``None`` where the system
    has no such ID; Linux has.
    """
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_bytes()
    except OSError:
        return None
    return hashlib.sha256(b'hvs_mm.study ' + boot.strip()).hexdigest()[:8]


def _git(*arguments: str) -> str | None:
    # An installed package may lie below somebody else's checkout.
    if not (_ROOT / '.git').exists():
        return None
    command = ['git', '-C', str(_ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def finite(value: Any) -> Any:
    """The value with ``None`` for numbers that JSON does not have, also inside dicts and lists."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
