"""Where a run saves its checkpoints, and under which names."""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

#: The file of a work dir that names the last checkpoint.
POINTER = 'last_checkpoint'
#: As MMEngine names them by itself.
_DEFAULT_NAMES = ('epoch_{}.pth', 'iter_{}.pth')


class CheckpointError(Exception):
    """A checkpoint could not be written."""


@dataclass(frozen=True)
class CheckpointPaths:
    """Where checkpoints lie.

    Attributes:
        work_dir: Of the run, which has the file that names the last one.
        folder: Where they are saved.
        names: Their names, relative to the folder, with ``{}`` for the epoch or the iteration.
    """

    work_dir: str
    folder: str
    names: tuple[str, ...] = _DEFAULT_NAMES

    @classmethod
    def of(cls, work_dir: str | Path, hook: Mapping[str, Any] | None = None) -> CheckpointPaths:
        """The place that the settings of a checkpoint hook stand for.

        Args:
            work_dir: Of the run.
            hook: ``default_hooks.checkpoint`` of its config.
        """
        hook = hook if isinstance(hook, Mapping) else {}
        work_dir, folder = str(work_dir), hook.get('out_dir')
        if folder is not None and str(folder) != work_dir:
            # As CheckpointHook does, so that runs do not mix.
            folder = osp.join(folder, osp.basename(work_dir.rstrip(osp.sep)))
        template = hook.get('filename_tmpl')
        return cls(work_dir, str(folder or work_dir), (template,) if template else _DEFAULT_NAMES)

    @classmethod
    def of_runner(cls, runner: Runner) -> CheckpointPaths:
        """The place of a run, by its config."""
        return cls.of(runner.work_dir, (runner.cfg.get('default_hooks') or {}).get('checkpoint'))

    def number(self, path: str | Path) -> tuple[str, int] | None:
        """The name and the number of a checkpoint of this place; ``None`` if it is none."""
        name = osp.relpath(osp.realpath(path), osp.realpath(self.folder))
        for template in self.names:
            head, _, tail = template.partition('{}')
            found = re.fullmatch(rf'{re.escape(head)}(\d+){re.escape(tail)}', name)
            if found:
                return template, int(found[1])
        return None

    def checkpoints(self) -> list[Path]:
        """All that are there, in no order."""
        folders = {Path(self.folder, template).parent for template in self.names}
        paths = [path for folder in folders for path in folder.glob('*') if path.is_file()]
        return [path for path in paths if self.number(path) is not None]
