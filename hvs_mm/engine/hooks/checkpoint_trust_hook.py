"""Refuse checkpoints that run code when they are read, in runs that no tool has checked."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint

from ...utils.class_name import class_name, configured_hooks
from ..checks.trust_checks import check_sources, dicts_in
from ..runners.checkpoint_paths import CheckpointPaths, latest_readable_checkpoint
from ..runners.reliable_runner import ReliableRunner


@HOOKS.register_module()
class CheckpointTrustHook(Hook):
    """Checks before a run that no checkpoint it reads can run code.

    The tools of this package check this by themselves; the hook is for other ways to start a run,
    such as ``mim train``. A Runner other than :class:`ReliableRunner` needs it in its config:
    ``default_hooks = dict(trust=dict(type='CheckpointTrustHook'))``. ``trust`` skips the check.
    """

    priority = 'HIGHEST'

    def __init__(self, trust: bool = False) -> None:
        self.trust = trust

    def before_run(self, runner: Runner) -> None:
        """Raise a ``ValueError`` for a file that :func:`check_trust` would refuse."""
        # The same decision as in load_or_resume, which comes later.
        resumes, path = runner._resume, runner._load_from
        if resumes and path is None:
            if isinstance(runner, ReliableRunner):
                paths = CheckpointPaths.from_config(runner.cfg, runner.work_dir)
                path = latest_readable_checkpoint(paths)
            else:
                path = find_latest_checkpoint(runner.work_dir)
        check_sources(runner.model, path, resumes, self.trust)


def trust_checkpoints(cfg: Config) -> None:
    """Let ``PretrainedBackbone`` in the model and ``CheckpointTrustHook`` accept any file."""
    for settings in dicts_in(cfg.get('model')):
        if class_name(settings) == 'PretrainedBackbone':
            settings['trust'] = True
    hooks = cfg.setdefault('default_hooks', {})
    if class_name({'type': cfg.get('runner_type')}) == ReliableRunner.__name__:
        # This Runner has the hook whether or not a config names it.
        hooks.setdefault('trust', dict(type='CheckpointTrustHook'))
    for settings in configured_hooks(cfg, CheckpointTrustHook.__name__):
        settings['trust'] = True
