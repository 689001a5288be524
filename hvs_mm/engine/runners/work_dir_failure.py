"""What to say when the work dir of a run cannot be written to any more."""

from __future__ import annotations

import errno
import os

from mmengine.runner import Runner

from .checkpoint_paths import last_good_checkpoint

#: The disk is full, or a limit of the user is reached; it is broken, or has become read-only.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)


def describe_work_dir_failure(runner: Runner, error: OSError) -> str | None:
    """Describe an error of the disk or of a file in the work dir; ``None`` for other errors.

    The text names the last good checkpoint.
    """
    work_dir, path = os.path.abspath(runner.work_dir), error.filename
    path = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes)) else None
    is_own = path is not None and os.path.commonpath([path, work_dir]) == work_dir
    if not is_own and error.errno not in _DISK_ERRORS:
        return None
    last = last_good_checkpoint(runner)
    if last is not None:
        rest = f'The last good checkpoint is {last}. Make room and continue with --resume.'
    elif os.path.isdir(work_dir):
        rest = 'There is no checkpoint yet. Make room and start again.'
    else:
        saved = getattr(runner, 'last_saved', None)
        rest = f'The last checkpoint was {saved[0]}. ' if saved else ''
        rest = f'The work dir is gone. {rest}Restore it and continue with --resume, or start again.'
    return f'{path or work_dir} cannot be written ({error.strerror or error}). {rest}'
