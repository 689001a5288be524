"""Check the work dir of a run: can it be written to, and does it hold another run?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmengine.config import Config

from ..runners.checkpoint_paths import POINTER, CheckpointPaths
from ..runners.work_dir_lock import WorkDirLock

#: Environment variables with the number of a process, as launchers set them.
_RANKS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')


def check_work_dir(cfg: Config) -> None:
    """Check that the work dir can be written to, or made where it is missing; do not make it."""
    work_dir = cfg.get('work_dir')
    if not work_dir:
        return
    found = Path(os.path.abspath(work_dir))
    while not os.path.lexists(found):
        found = found.parent
    reason = 'is no folder'
    if found.is_dir():
        try:
            # Permissions do not tell it: not below /proc and /sys, and not for root.
            with tempfile.TemporaryFile(dir=found):
                _check_names(work_dir, found)
                return
        except OSError as error:
            reason = f'cannot be written to ({error.strerror})'
    raise ValueError(f'work_dir={work_dir}: {found} {reason}. Name another folder with --work-dir.')


def _check_names(work_dir: str, existing: Path) -> None:
    """Check the lengths of the names in a path, some of which do not exist yet."""
    longest = max(Path(os.path.abspath(work_dir)).parts, key=lambda name: len(os.fsencode(name)))
    limit, length = os.pathconf(existing, 'PC_NAME_MAX'), len(os.fsencode(longest))
    if length > limit:
        raise ValueError(
            f'work_dir={work_dir}: a name in it has {length} bytes, and {existing} takes names of '
            f'at most {limit}. Name another folder with --work-dir.'
        )


def check_unused(cfg: Config) -> None:
    """Check that a run which starts from the beginning overwrites no other.

    Raises:
        ValueError: If there are checkpoints in the work dir, unless the config has ``resume``.
    """
    if cfg.get('resume') or not _is_folder(cfg):
        return
    found = _checkpoints(cfg)
    if found:
        raise ValueError(
            f'work_dir={cfg.work_dir} holds a run already, with {len(found)} checkpoint(s) such as '
            f'{found[-1].name}: continue it with --resume, name another folder with --work-dir, or '
            'start again with --overwrite, which removes these checkpoints.'
        )


def check_not_in_use(cfg: Config) -> None:
    """Check that no other process trains in the work dir; the first process of several does.

    Raises:
        ValueError: If one does.
    """
    if _is_folder(cfg) and is_first_process():
        lock = WorkDirLock(cfg.work_dir)
        lock.take()
        lock.release()


def remove_checkpoints(cfg: Config) -> None:
    """Remove the checkpoints of the run in the work dir; the first process of several does.

    Raises:
        ValueError: If another process trains in the work dir.
    """
    if not is_first_process() or not _is_folder(cfg):
        return
    lock = WorkDirLock(cfg.work_dir)
    lock.take()
    try:
        # The pointer first: it must not name what is gone.
        Path(cfg.work_dir, POINTER).unlink(missing_ok=True)
        for path in _checkpoints(cfg):
            path.unlink()
    finally:
        lock.release()


def is_first_process() -> bool:
    """Whether this process is the first of those that a launcher has started, or the only one.

    Before the processes have met, which is when MMEngine knows.
    """
    ranks = (os.environ.get(name) for name in _RANKS)
    return next((rank for rank in ranks if rank is not None), '0') == '0'


def _checkpoints(cfg: Config) -> list[Path]:
    return sorted(CheckpointPaths.from_config(cfg, cfg.work_dir).checkpoints())


def _is_folder(cfg: Config) -> bool:
    return os.path.isdir(cfg.get('work_dir') or '')
