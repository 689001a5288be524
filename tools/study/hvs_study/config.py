"""The complete config of one run of a study, and its hash."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from hvs_mm.engine import merge_options, read_config
from hvs_mm.recipes.adapt import stretch_schedule

from .plan import TRUNK, PlannedRun, Study
from .schema import StudyError, expect

#: Settings that a run reads at the top of its config. Others only help to write it: lists of
#: transforms that pipelines are put together from, say.
_READ = {*inspect.signature(Runner).parameters, 'activation_checkpointing', 'compile'}
_READ |= {'custom_imports', 'find_unused_parameters', 'knn_pipeline', 'model_wrapper_cfg'}
#: Settings that say where and how a run works, and do not change its result.
_OF_THE_MACHINE = {'data_root', 'experiment_name', 'launcher', 'num_workers', 'persistent_workers'}
_OF_THE_MACHINE |= {'pin_memory', 'prefetch_factor', 'resume', 'runner_type', 'vis_backends'}
_OF_THE_MACHINE |= {'visualizer', 'work_dir'}
#: Hooks that only watch.
_WATCHING = {
    'checkpoint', 'health', 'logger', 'selection', 'timer', 'trust', 'visualization',
}  # fmt: skip


#: Epochs of a trunk, which ends where a run forks from it.
_FOREVER = 10**6

#: Reading a config takes longer than all else here, and arms share configs.
_read = cache(read_config)


def resolve_config(
    study: Study, run: PlannedRun, options: Mapping[str, Any], is_trunk: bool = False
) -> Config:
    """The config of a run, without its work dir.

    More special settings win: those of the study, the method, the arm, the arm for this method,
    the command line (``options``). A run loads its images itself unless they say otherwise: with a
    job on every core, processes of loaders would only wait for each other.

    Raises:
        StudyError: If a setting does not exist, or the config does not fit.
    """
    method, arm = study.methods[run.method], study.arms[run.arm]
    cfg = deepcopy(_read(method[arm['config']]))
    loader = cfg.get('train_dataloader')
    needed = f'{cfg.filename} has no train_dataloader: name the config of a training.'
    expect(loader is not None, needed)
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    merged: dict[str, Any] = {}
    for where, overrides in (
        ('cfg_options', study.options),
        (f'methods.{run.method}.cfg_options', method.get('cfg_options', {})),
        (f'arms.{run.arm}.cfg_options', arm.get('cfg_options', {})),
        (f'arms.{run.arm}.per_method.{run.method}', arm.get('per_method', {}).get(run.method, {})),
        ('--cfg-options', options),
    ):
        try:
            merge_options(cfg, deepcopy(dict(overrides)))
        except ValueError as error:
            text = str(error).removeprefix('--cfg-options ')
            raise StudyError(f'{study.path}: {where} of run {run.id}: {text}') from error
        merged |= overrides
    # Nothing reads it but the line of the run.
    cfg.study_settings = {'config': Path(method[arm['config']]).name, 'cfg_options': merged}
    if 'candidates' in arm:
        cfg.study_settings.candidates = list(arm['candidates'])
    try:
        if 'candidates' in arm:
            _set_candidates(cfg, f'arms.{run.arm}.candidates', list(arm['candidates']))
        ending = _ending(cfg)
        stretch_schedule(cfg, run.fork + run.epochs, with_warmup=False)
    except ValueError as error:
        raise StudyError(f'{study.path}: run {run.id}: {error}') from error
    if is_trunk:
        cfg.param_scheduler = [one for one in _schedulers(cfg) if one not in ending]
        cfg.train_cfg.max_epochs = _FOREVER
    elif run.fork:
        _fork_schedules(cfg, ending, run.fork)
    cfg.setdefault('randomness', {})
    cfg.randomness.seed = run.seed
    hooks = cfg.setdefault('default_hooks', {})
    # Pictures of the selection take time, and nobody looks at them.
    hooks.pop('panel', None)
    hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    return cfg


def resolve_trunk(study: Study, run: PlannedRun, options: Mapping[str, Any]) -> Config:
    """The config of what a run forks from: the baseline, without the schedules that end with a run.

    It is the same for all arms, whose settings hold after the fork, and for forks at any epoch.

    Raises:
        StudyError: See :func:`resolve_config`.
    """
    study = replace(study, arms={TRUNK: {'config': TRUNK}})
    return resolve_config(study, replace(run, arm=TRUNK), options, is_trunk=True)


def _fork_schedules(cfg: Config, ending: list[Any], fork: int) -> None:
    """Let the schedules that end with the run begin after ``fork`` epochs, in place.

    Before that, values stay as warm-ups leave them.
    """
    for one in ending:
        one['begin'] = fork
        if one.get('T_max') is not None:
            one['T_max'] = cfg.train_cfg.max_epochs - fork


def _schedulers(cfg: Config) -> list[Any]:
    found = cfg.get('param_scheduler') or []
    return [found] if isinstance(found, dict) else list(found)


def _ending(cfg: Config) -> list[Any]:
    """The schedules that end with the run."""
    end = (cfg.get('train_cfg') or {}).get('max_epochs')
    return [
        one
        for one in _schedulers(cfg)
        if one.get('by_epoch', True)
        and (one.get('end', end) == end or one.get('T_max') in (end, end - one.get('begin', 0)))
    ]


def _set_candidates(cfg: Config, where: str, candidates: list[int]) -> None:
    pipeline = cfg.train_dataloader.dataset.get('pipeline') or []
    steps = [step for step in pipeline if step.get('type') == 'CandidateViews']
    expect(
        'candidates' in cfg.model and len(steps) == 1,
        f'{where}={candidates}: {cfg.filename} selects no views: its model needs candidates, and '
        'train_dataloader.dataset.pipeline one step CandidateViews. Leave it out, or name a config '
        'with HVSAlgorithm.',
    )
    cfg.model.candidates = steps[0].num_views = candidates


def describe_settings(cfg: Config) -> dict[str, Any]:
    """What a study makes of a config, ``config``, ``cfg_options`` and maybe ``candidates``.

    Without folders and settings of the machine.
    """
    found = cfg.study_settings.to_dict()
    options = found['cfg_options'].items()
    kept = {key: value for key, value in options if key.split('.')[-1] not in _OF_THE_MACHINE}
    return _portable({**found, 'cfg_options': kept})


def config_hash(cfg: Config, study: Study, trunk: Config | None = None) -> str:
    """SHA-256, in hexadecimal, of the settings that decide a result.

    It covers what the run reads of its config and the evaluation of the study, without folders
    and settings of the machine; for a fork also its trunk.
    """
    knn = study.knn
    evaluation = dict(k=knn.k[0], temperature=knn.temperature, network=knn.network)
    evaluation |= dict(bank=_images(knn.bank), queries=_images(knn.queries))
    evaluation |= dict(interval=study.interval, linear_c=study.linear_c)
    if study.transfer:
        evaluation['transfer'] = {
            name: [_images(one.bank), _images(one.queries), one.linear_c]
            for name, one in study.transfer.items()
        }
    settings = {'config': portable_settings(cfg), 'evaluation': _portable(evaluation)}
    if study.engine != 'runner':
        settings['engine'] = study.engine
    if trunk is not None:
        settings['trunk'] = config_hash(trunk, study)
    text = json.dumps(settings, sort_keys=True, separators=(',', ':'), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _images(images: Any) -> Any:
    # A folder is where a machine has its images.
    return 'folder' if isinstance(images, str) else images


def portable_settings(cfg: Config) -> dict[str, Any]:
    """What decides how a run trains: without folders, settings of the machine, and watchers."""
    config = {key: value for key, value in cfg.to_dict().items() if key in _READ}
    hooks = config.get('default_hooks') or {}
    config['default_hooks'] = {key: hook for key, hook in hooks.items() if key not in _WATCHING}
    return _portable(config)


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = (item for item in value.items() if item[0] not in _OF_THE_MACHINE)
        return {str(key): _portable(item) for key, item in kept}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    # Classes and functions have no JSON.
    is_named = hasattr(value, '__qualname__')
    return f'{value.__module__}.{value.__qualname__}' if is_named else value
