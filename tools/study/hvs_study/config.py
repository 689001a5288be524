"""The complete config of one run of a study, and its hash."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from hvs_mm.engine import merge_options, read_config

from .plan import PlannedRun, Study
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
_WATCHING = {'checkpoint', 'logger', 'selection', 'timer', 'trust', 'visualization'}


#: Reading a config takes longer than all else here, and arms share configs.
_read = cache(read_config)


def resolve_config(study: Study, run: PlannedRun, options: Mapping[str, Any]) -> Config:
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
    try:
        if 'candidates' in arm:
            _set_candidates(cfg, f'arms.{run.arm}.candidates', list(arm['candidates']))
        set_epochs(cfg, run.epochs)
    except ValueError as error:
        raise StudyError(f'{study.path}: run {run.id}: {error}') from error
    cfg.setdefault('randomness', {})
    cfg.randomness.seed = run.seed
    hooks = cfg.setdefault('default_hooks', {})
    # Pictures of the selection take time, and nobody looks at them.
    hooks.pop('panel', None)
    hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    return cfg


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


def set_epochs(cfg: Config, epochs: int) -> None:
    """Set the length of a run in place, and ``end`` and ``T_max`` of schedules that end with it.

    Warm-ups keep their length.

    Raises:
        StudyError: If the run counts iterations, no schedule ends with it, or one would begin
            when the run is over.
    """
    old = (cfg.get('train_cfg') or {}).get('max_epochs')
    expect(
        old is not None,
        f'{cfg.filename}: train_cfg.max_epochs is missing: a study takes configs that count '
        "epochs, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...).",
    )
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    is_known = not schedulers
    for scheduler in [one for one in schedulers if one.get('by_epoch', True)]:
        begin = scheduler.get('begin', 0)
        # Annealing after a warm-up lasts for the epochs that are left.
        ends = {'end': {old: epochs}, 'T_max': {old: epochs, old - begin: epochs - begin}}
        found = [key for key, lengths in ends.items() if scheduler.get(key) in lengths]
        scheduler.update({key: ends[key][scheduler[key]] for key in found})
        is_known = is_known or bool(found)
        expect(
            not found or begin < epochs,
            f'{cfg.filename}: with epochs={epochs} the run is over when {scheduler.get("type")} '
            f'begins, at epoch {begin}: train longer, or shorten the warm-up with cfg_options.',
        )
    expect(
        is_known,
        f'{cfg.filename}: train_cfg.max_epochs={old}, but no entry of param_scheduler has that as '
        "its end or T_max, so its schedule for another length is unknown: set 'end' of the one "
        "that ends with the run, or with the study's cfg_options param_scheduler to None for a "
        'constant learning rate.',
    )
    cfg.train_cfg.max_epochs = epochs


def config_hash(cfg: Config, study: Study) -> str:
    """SHA-256, in hexadecimal, of the settings that decide a result.

    It covers what the run reads of its config and the evaluation of the study, without folders
    and settings of the machine.
    """
    config = {key: value for key, value in cfg.to_dict().items() if key in _READ}
    hooks = config.get('default_hooks') or {}
    config['default_hooks'] = {key: hook for key, hook in hooks.items() if key not in _WATCHING}
    knn = study.knn
    evaluation = dict(k=knn.k[0], temperature=knn.temperature, network=knn.network)
    for name in ('bank', 'queries'):
        images = getattr(knn, name)
        # A folder is where a machine has its images.
        evaluation[name] = 'folder' if isinstance(images, str) else images
    evaluation |= dict(interval=study.interval, linear_c=study.linear_c)
    settings = _portable({'config': config, 'evaluation': evaluation})
    text = json.dumps(settings, sort_keys=True, separators=(',', ':'), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = (item for item in value.items() if item[0] not in _OF_THE_MACHINE)
        return {str(key): _portable(item) for key, item in kept}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    # Classes and functions have no JSON.
    is_named = hasattr(value, '__qualname__')
    return f'{value.__module__}.{value.__qualname__}' if is_named else value
