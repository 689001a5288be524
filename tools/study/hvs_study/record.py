"""Machine, code and logs of a run, for its line of results."""

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
#: As many digits as are meaningful; times in seconds, accuracies in percent.
_DIGITS = {'seconds': '.2f', 'cpu_seconds': '.2f', 'loss': '.6g', 'knn': '.3f'}


def describe_curve(curve: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The curve, rounded."""
    rounded = {
        name: [v if v is None else float(format(v, digits)) for v in curve[name]]
        for name, digits in _DIGITS.items()
    }
    return finite({**curve, **rounded})


def describe_selection(work_dir: str | Path) -> dict[str, Any] | None:
    """Lists by ``epoch`` of the statistics that ``SelectionStatsHook`` logged; ``None`` if none."""
    periods = selection_series(read_runs([work_dir])[0])
    if not periods:
        return None
    found = {'epoch': [period.position for period in periods]}
    for name in dict.fromkeys(name for period in periods for name in period.means):
        values = [period.means.get(name) for period in periods]
        found[name] = [None if value is None else round(value, 4) for value in values]
    return found


def describe_start(jobs: int) -> dict[str, Any]:
    """When, where and with which code a process starts, with ``jobs`` runs at a time.

    ``revision`` of git and ``dirty``, whether the code has changes, are those of the import, and
    ``None`` where the package is no git checkout.
    """
    return {
        'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        **_IMPORTED,
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
    info = Path('/proc/cpuinfo')
    found = re.search(r'^model name\s*: (.*)$', info.read_text() if info.exists() else '', re.M)
    return found[1] if found else platform.machine()


def describe_machine() -> str | None:
    """Eight hexadecimal digits that identify this machine until it restarts, and nothing else.

    ``None`` where the system has no ID of its start; Linux has.
    """
    boot = Path('/proc/sys/kernel/random/boot_id')
    salted = b'hvs_mm.study ' + boot.read_bytes().strip() if boot.exists() else None
    return salted and hashlib.sha256(salted).hexdigest()[:8]


def _git(*arguments: str) -> str | None:
    # An installed package may lie below somebody else's checkout.
    if not (_ROOT / '.git').exists():
        return None
    command = ['git', '-C', str(_ROOT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _describe_code() -> dict[str, Any]:
    revision = _git('rev-parse', 'HEAD')
    changes = _git('status', '--porcelain', '--', *_CODE) if revision else None
    return {'revision': revision, 'dirty': None if changes is None else bool(changes)}


#: The code that this process has imported: it may be forked from one that is hours old.
_IMPORTED = _describe_code()


def finite(value: Any) -> Any:
    """The value with ``None`` for numbers that JSON does not have, also inside dicts and lists."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
