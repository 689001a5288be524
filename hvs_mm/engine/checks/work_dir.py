"""Check that a run can write to its work dir."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config


def check_work_dir(cfg: Config) -> None:
    """Check that the work dir can be written to, or made where it is missing; do not make it."""
    work_dir = cfg.get('work_dir')
    if not work_dir:
        return
    found = Path(os.path.abspath(work_dir))
    while not os.path.lexists(found):
        found = found.parent
    if found.is_dir() and os.access(found, os.W_OK | os.X_OK):
        return
    reason = 'cannot be written to' if found.is_dir() else 'is no folder'
    raise ValueError(f'work_dir={work_dir}: {found} {reason}. Name another folder with --work-dir.')
