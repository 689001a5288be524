"""The complete config of one run of a study."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..engine.runners.command_line import merge_options, read_config
from .schedule import set_epochs
from .study_file import PlannedRun, Study, StudyError

#: What a run reads of its config, at the top. Anything else there only helps to write it: lists of
#: transforms that pipelines are put together from, say.
_READ = frozenset(inspect.signature(Runner).parameters) | {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'find_unused_parameters',
    'knn_pipeline',
    'model_wrapper_cfg',
}
#: What says where and how a run works, not what comes out of it.
_OF_THE_MACHINE = frozenset(
    {
        'data_root',
        'experiment_name',
        'launcher',
        'num_workers',
        'persistent_workers',
        'pin_memory',
        'prefetch_factor',
        'resume',
        'runner_type',
        'vis_backends',
        'visualizer',
        'work_dir',
    }
)
#: Hooks that only watch.
_WATCHING = frozenset({'checkpoint', 'logger', 'selection', 'timer', 'trust', 'visualization'})


def resolve_config(study: Study, run: PlannedRun, options: Mapping[str, Any]) -> Config:
    """The config of a run, but for its work dir.

    Of the study's settings the more special ones win: those of the study, the method, the arm,
    the arm for this method, the command line. A run reads its images itself, unless they say
    otherwise: with a job on every core, processes of loaders would only wait for each other.

    Args:
        study: Of the run.
        run: One of its runs.
        options: Of the command line, by dotted keys.

    Raises:
        StudyError: If a setting does not exist, or the config does not fit.
    """
    method, arm = study.methods[run.method], study.arms[run.arm]
    cfg = read_config(method.configs[arm.config])
    loader = cfg.get('train_dataloader')
    if loader is None:
        raise StudyError(f'{cfg.filename} has no train_dataloader: name the config of a training.')
    loader.num_workers = 0
    loader.persistent_workers = False
    loader.pop('prefetch_factor', None)
    for where, overrides in (
        ('cfg_options', study.options),
        (f'methods.{run.method}.cfg_options', method.options),
        (f'arms.{run.arm}.cfg_options', arm.options),
        (f'arms.{run.arm}.per_method.{run.method}', arm.per_method.get(run.method, {})),
        ('--cfg-options', options),
    ):
        try:
            merge_options(cfg, deepcopy(dict(overrides)))
        except ValueError as error:
            text = str(error).removeprefix('--cfg-options ')
            raise StudyError(f'{study.path}: {where} of run {run.id}: {text}') from error
    try:
        if arm.candidates is not None:
            _set_candidates(cfg, run, arm.candidates)
        set_epochs(cfg, run.epochs)
    except ValueError as error:
        raise StudyError(f'{study.path}: run {run.id}: {error}') from error
    cfg.setdefault('randomness', {})
    cfg.randomness.seed = run.seed
    hooks = cfg.setdefault('default_hooks', {})
    # Pictures of the selection take time and are not looked at.
    hooks.pop('panel', None)
    hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    return cfg


def _set_candidates(cfg: Config, run: PlannedRun, candidates: list[int]) -> None:
    if 'candidates' not in cfg.model:
        raise StudyError(
            f'arms.{run.arm}.candidates={candidates}: {cfg.filename} selects no views, its model '
            'has no candidates. Leave it out, or name a config with HVSAlgorithm.'
        )
    pipeline = cfg.train_dataloader.dataset.get('pipeline') or []
    steps = [step for step in pipeline if step.get('type') == 'CandidateViews']
    if len(steps) != 1:
        raise StudyError(
            f'arms.{run.arm}.candidates={candidates}: train_dataloader.dataset.pipeline of '
            f'{cfg.filename} has {len(steps)} steps CandidateViews, expected one: set both numbers '
            'with cfg_options.'
        )
    cfg.model.candidates = list(candidates)
    steps[0].num_views = list(candidates)


def config_hash(cfg: Config, study: Study) -> str:
    """What tells whether a result is of these settings.

    Args:
        cfg: Of a run, complete.
        study: Whose evaluation counts, too.

    Returns:
        SHA-256 in hexadecimal of the settings that the run reads, without folders and what is of
        the machine.
    """
    config = {key: value for key, value in cfg.to_dict().items() if key in _READ}
    hooks = config.get('default_hooks') or {}
    config['default_hooks'] = {key: hook for key, hook in hooks.items() if key not in _WATCHING}
    settings = {'config': config, 'evaluation': study.evaluation.described()}
    text = json.dumps(_portable(settings), sort_keys=True, separators=(',', ':'), default=_name_of)
    return hashlib.sha256(text.encode()).hexdigest()


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _portable(item) for key, item in value.items() if key not in _OF_THE_MACHINE
        }
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return value


def _name_of(value: Any) -> str:
    """What stands for a class or a function of a config."""
    if hasattr(value, '__qualname__'):
        return f'{value.__module__}.{value.__qualname__}'
    return repr(value)
