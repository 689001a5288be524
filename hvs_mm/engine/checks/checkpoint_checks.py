"""Check the checkpoints that a run starts from, resumes from or tests."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.class_name import class_name
from ...utils.dumped_config import parse_config
from ...weights.checkpoint_files import load_checkpoint
from ...weights.finite_weights import check_finite_weights
from ...weights.pretrained_backbone import (
    PretrainedBackbone,
    check_checkpoint_given,
    differing_shapes,
    load_backbone,
)
from ..runners.checkpoint_paths import POINTER, CheckpointPaths, latest_readable_checkpoint
from .resumed_settings import check_settings


def initialized_modules(model: nn.Module) -> Iterator[tuple[str, BaseModule]]:
    """Yield the modules of a model that have an ``init_cfg``, each after the option of that."""
    parent = 'model.algorithm' if isinstance(model, HVSAlgorithm) else 'model'
    for name, module in model.named_modules():
        if getattr(module, 'init_cfg', None):
            yield '.'.join(filter(None, (parent, name, 'init_cfg'))), module


def check_pretrained(model: nn.Module) -> None:
    """Check that the weights of every ``PretrainedBackbone`` exist and fit, and load them."""
    for option, module in initialized_modules(model):
        init = module.init_cfg
        # A teacher is a copy of its student.
        if '.teacher.' in option or class_name(init) != PretrainedBackbone.__name__:
            continue
        path = init.get('checkpoint')
        check_checkpoint_given(path, option)
        if not osp.isfile(path):
            raise FileNotFoundError(f'{option}.checkpoint={path!r}: there is no such file.')
        load_backbone(
            module, path, init.get('prefix'), init.get('strict', True), init.get('trust', False)
        )


def resumed_checkpoint(cfg: Config) -> str | None:
    """Return the checkpoint that a run resumes from, ``None`` if it starts from scratch.

    As in MMEngine, ``resume=True`` without a checkpoint in the work dir starts from scratch.

    Raises:
        ValueError: If there are checkpoints in the work dir, but none can be read.
    """
    if not cfg.get('resume'):
        return None
    if cfg.get('load_from'):
        return cfg.load_from
    return latest_readable_checkpoint(CheckpointPaths.from_config(cfg, cfg.work_dir))


def check_resume(cfg: Config, model: nn.Module, trust: bool, allow_changes: bool = False) -> None:
    """Check that the checkpoint to resume from has exactly the weights of this model.

    MMEngine loads the tensors that fit and leaves the others random, but a run that continues with
    the optimizer state of another model is broken. For other settings see :func:`check_settings`.
    """
    path = resumed_checkpoint(cfg)
    if path is None or '://' in path:
        return
    checkpoint = _read_checkpoint(path, trust, '--resume ')
    own = model.state_dict()
    differing = sorted(name for name, *_ in differing_shapes(_state_dict(checkpoint), own))
    if differing:
        raise ValueError(
            f'--resume {path}: the checkpoint is of another model ({_saved_type(checkpoint)}, this '
            f'is {_type(cfg.model)}); {len(differing)} of {len(own)} tensors differ, such as '
            f'{", ".join(differing[:3])}. Resume from a checkpoint of this config, choose another '
            '--work-dir, or start from its weights alone with --cfg-options load_from=PATH.'
        )
    check_finite_weights(_state_dict(checkpoint), f'--resume {path}', own)
    before = (checkpoint.get('meta') or {}).get('cfg')
    if not cfg.get('load_from'):
        _check_same_work_dir(before, cfg.work_dir, path)
    check_settings(before, cfg.pretty_text, path, allow_changes)


def _check_same_work_dir(before: str | None, work_dir: str, path: str) -> None:
    """Check that a checkpoint that was found in the folder ``out_dir`` is not of another run.

    The file ``last_checkpoint`` of a work dir that was moved names it.
    """
    if osp.isfile(osp.join(work_dir, POINTER)):
        return
    try:
        saved = parse_config(before or '').get('work_dir')
    except ValueError:
        return
    here = osp.realpath(work_dir)
    is_inside = osp.realpath(path).startswith(f'{here}{os.sep}')
    if isinstance(saved, str) and osp.realpath(saved) != here and not is_inside:
        raise ValueError(
            f'--resume: work_dir={work_dir} has no checkpoint yet, and {path} is of work_dir='
            f'{saved}: give each run an out_dir of its own in default_hooks.checkpoint, or the '
            'last part of its work dir a name of its own. To continue that run, name its '
            'checkpoint after --resume.'
        )


def check_start(cfg: Config, model: nn.Module, trust: bool) -> None:
    """Check that the weights to start from, ``load_from`` without ``resume``, fit the model.

    Missing and additional tensors are left to MMEngine, which lists them: a baseline may start
    from part of another method. Other shapes are an error: MMEngine would keep random weights.
    """
    path = cfg.get('load_from')
    if cfg.get('resume') or not path or '://' in path:
        return
    checkpoint = _read_checkpoint(path, trust, 'load_from=')
    # MMEngine removes the prefix of DistributedDataParallel, too.
    state = {key.removeprefix('module.'): v for key, v in _state_dict(checkpoint).items()}
    if not model.state_dict().keys() & state.keys():
        raise ValueError(
            f'load_from={path}: none of its tensors, such as {", ".join(list(state)[:3])}, is one '
            f'of this {_type(cfg.model)}. Published weights of DINO and iBOT are converted with '
            'tools/model_converters/published_to_hvs.py.'
        )
    _load(model, state, f'load_from={path}', checkpoint)


def load_weights(
    path: str, model: nn.Module, trust: bool, allow_others: bool = True
) -> dict[str, Any]:
    """Load a checkpoint that has all weights of a model, and return it.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it cannot be read, holds weights that are not finite, or is of another model:
            tensors are missing, have another shape or, unless ``allow_others``, are not in the
            model.
    """
    checkpoint = _read_checkpoint(path, trust)
    found = _load(model, _state_dict(checkpoint), path, checkpoint)
    missing = [key for key in found.missing_keys if not key.endswith('num_batches_tracked')]
    others = [] if allow_others else found.unexpected_keys
    for verb, names in (('lacks', missing), ('also has', others)):
        if names:
            reason = f'it {verb} {len(names)} tensors, such as {", ".join(names[:3])}.'
            raise ValueError(_another_model(path, checkpoint, reason))
    return checkpoint


def _load(
    model: nn.Module, state: dict[str, Any], source: str, checkpoint: dict[str, Any]
) -> _IncompatibleKeys:
    """Load weights; return the missing and unexpected keys.

    Raises a ``ValueError`` if a shape differs, or weights of the model are not finite.
    """
    own = model.state_dict()
    check_finite_weights({name: state[name] for name in own if name in state}, source, own)
    try:
        return model.load_state_dict(state, strict=False)
    except (AssertionError, RuntimeError) as error:
        # torch lists all differences, one a line below its first.
        lines = str(error).strip().splitlines()
        reason = (lines[1:2] or lines)[0].strip()
        raise ValueError(_another_model(source, checkpoint, reason)) from error


def _another_model(source: str, checkpoint: dict[str, Any], reason: str) -> str:
    saved = _saved_type(checkpoint)
    return f'{source}: the checkpoint is of another model ({saved}) than the config: {reason}'


def _state_dict(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint.get('state_dict', checkpoint)


def _read_checkpoint(path: str, trust: bool, option: str = '') -> dict[str, Any]:
    if not osp.isfile(path):
        raise FileNotFoundError(f'{option}{path}: there is no such checkpoint.')
    try:
        # Mapped into memory: most checks need only names and shapes.
        checkpoint = load_checkpoint(path, trust, mmap=True)
    except ValueError as error:
        raise ValueError(f'{option}{error}') from error
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise ValueError(f'{option}{path}: this is no checkpoint, but a {kind}.')
    return checkpoint


def _type(model: dict[str, Any]) -> str:
    inner = model.get('algorithm')
    return f'{model["type"]} of {inner["type"]}' if isinstance(inner, dict) else str(model['type'])


def _saved_type(checkpoint: dict[str, Any]) -> str:
    # Parsed, not run: the text may come from anybody.
    try:
        return _type(parse_config((checkpoint.get('meta') or {}).get('cfg') or '')['model'])
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        return 'type unknown'
