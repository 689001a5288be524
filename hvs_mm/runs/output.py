"""Check that a result can be written, before the work for it is done."""

from __future__ import annotations

import os
from pathlib import Path

from ..weights.checkpoint_files import check_output


def prepare_output(out: str | os.PathLike, force: bool = False) -> Path:
    """Make the folder of a file to write, and check that the file can be written.

    Raises:
        FileExistsError: If the file is there already, unless ``force``.
        OSError: If it cannot be written.
    """
    path = Path(out).expanduser()
    check_output(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(out, error.strerror or error) from error
    # Also for root, who may write to any folder but not on any file system.
    probe = path.with_name(f'.{path.name}.probe')
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot_write(out, error.strerror or error) from error
    return path


def _cannot_write(out: str | os.PathLike, reason: object) -> OSError:
    return OSError(
        f'--out {str(out)!r} cannot be written ({reason}): name a file in a folder that you may '
        'write to.'
    )
