"""Refuse checkpoints whose reading would run code that is in them.

MMEngine reads checkpoints with ``torch.load(weights_only=False)``: on torch below 2.6 always, else
wherever reading them safely fails. Whoever wrote such a file decides what runs then. Here files are
read safely first.
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.class_name import class_name
from ...weights.checkpoint_files import load_checkpoint
from ..checks.checkpoint_checks import resumed_checkpoint
from .checkpoint_paths import CheckpointPaths
from .latest_checkpoint import latest_readable_checkpoint
from .reliable_runner import ReliableRunner


def check_trust(cfg: Config, model: nn.Module, trust: bool = False) -> None:
    """Check that no checkpoint that a run reads can run code.

    Args:
        cfg: The complete config, with ``load_from`` and ``resume``.
        model: The model it configures, not yet initialized.
        trust: Check nothing.

    Raises:
        ValueError: If a file cannot be read safely, or MMEngine would download one.
    """
    resumed = resumed_checkpoint(cfg)
    _check_all(model, resumed or cfg.get('load_from'), resumed is not None, trust)


def trust_checkpoints(cfg: Config) -> None:
    """Let ``PretrainedBackbone`` in the model, and the hook of this module, take any file.

    Args:
        cfg: The complete config, changed in place.
    """
    for settings in _dicts_in(cfg.get('model')):
        if class_name(settings) == 'PretrainedBackbone':
            settings['trust'] = True
    hooks = cfg.setdefault('default_hooks', {})
    if class_name({'type': cfg.get('runner_type')}) == ReliableRunner.__name__:
        # Which has it whether or not a config names it.
        hooks.setdefault('trust', dict(type='CheckpointTrustHook'))
    for settings in (*_dicts_in(hooks), *_dicts_in(cfg.get('custom_hooks'))):
        if class_name(settings) == CheckpointTrustHook.__name__:
            settings['trust'] = True


@HOOKS.register_module()
class CheckpointTrustHook(Hook):
    """Check before a run that no checkpoint it reads can run code.

    For runs that are started without the tools of this package, such as with ``mim train``; these
    tools check by themselves. :class:`ReliableRunner` has it by default. For another Runner add
    ``default_hooks = dict(trust=dict(type='CheckpointTrustHook'))``.

    Args:
        trust: Check nothing.
    """

    priority = 'HIGHEST'

    def __init__(self, trust: bool = False) -> None:
        self.trust = trust

    def before_run(self, runner: Runner) -> None:
        """Check what the Runner is about to read.

        Raises:
            ValueError: If a file cannot be read safely, or MMEngine would download one.
        """
        # As the Runner itself decides in load_or_resume, which comes later.
        resumes, path = runner._resume, runner._load_from
        if resumes and path is None:
            if isinstance(runner, ReliableRunner):
                path = latest_readable_checkpoint(CheckpointPaths.of_runner(runner))
            else:
                path = find_latest_checkpoint(runner.work_dir)
        _check_all(runner.model, path, resumes, self.trust)


def _check_all(model: nn.Module, path: str | None, resumes: bool, trust: bool) -> None:
    if trust:
        return
    for option, source in _initializers(model):
        _check_source(option, source)
    if path:
        _check_source('--resume' if resumes else 'load_from', path, resumes)


def _initializers(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Options of the config, and the checkpoints that modules are initialized from."""
    parent = 'model.algorithm' if isinstance(model, HVSAlgorithm) else 'model'
    for name, module in model.named_modules():
        for settings in _dicts_in(getattr(module, 'init_cfg', None)):
            if isinstance(settings.get('checkpoint'), str):
                yield '.'.join(filter(None, (parent, name, 'init_cfg'))), settings['checkpoint']


def _check_source(option: str, path: str, resumes: bool = False) -> None:
    if '://' in path:
        raise ValueError(
            f'{option}={path}: MMEngine would download the file and unpickle it, which runs '
            'whatever code is in it, before anybody can look. Download it and give its path, or '
            'add --trust if you trust its source.'
        )
    path = osp.expanduser(path)
    if not osp.isfile(path):
        # That nothing is there is told where it is read.
        return
    try:
        checkpoint = load_checkpoint(path, mmap=True)
    except ValueError as error:
        raise ValueError(f'{option}: {error}') from error
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if resumes and isinstance(meta, dict) and 'config' in meta:
        raise ValueError(
            f"{option}: {path} holds meta['config'], a text that MMEngine runs as a program of "
            'Python when it resumes. No run of MMEngine writes it. If you trust the source of the '
            'file, add --trust; or start from its weights alone with --cfg-options load_from=PATH.'
        )


def _dicts_in(settings: Any) -> Iterator[dict[str, Any]]:
    if isinstance(settings, dict):
        yield settings
        for value in settings.values():
            yield from _dicts_in(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _dicts_in(value)
