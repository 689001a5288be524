"""Check that a run can write to its work dir."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config


def check_work_dir(cfg: Config) -> None:
    """Check that the work dir exists or can be made, without making it.

    Raises:
        ValueError: If the work dir, or the folder that it would be made in, is a file or not
            writable.
    """
    work_dir = cfg.get('work_dir')
    if not work_dir:
        return
    found = Path(os.path.abspath(work_dir))
    while not os.path.lexists(found):
        found = found.parent
    if not found.is_dir():
        reason = f'{found} is no folder'
    elif not os.access(found, os.W_OK | os.X_OK):
        reason = f'{found} cannot be written to'
    else:
        return
    raise ValueError(f'work_dir={work_dir}: {reason}. Name another folder with --work-dir.')
