"""Check the checkpoints that a run starts from, goes on from or tests."""

from __future__ import annotations

import os.path as osp
from typing import Any

from mmengine.config import Config
from torch import nn

from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.class_name import class_name
from ...utils.dumped_config import parse_config
from ...weights.backbone_weights import load_backbone
from ...weights.checkpoint_files import load_checkpoint
from ...weights.pretrained_backbone import PretrainedBackbone, check_checkpoint_given
from ..runners.checkpoint_paths import CheckpointPaths
from ..runners.latest_checkpoint import latest_readable_checkpoint


def check_pretrained(model: nn.Module) -> None:
    """Check that there are the weights which modules are to start from, and that they fit.

    Args:
        model: The model, whose modules with a ``PretrainedBackbone`` among their settings are
            loaded.

    Raises:
        FileNotFoundError: If a checkpoint does not exist.
        ValueError: If none is given, or it does not fit.
    """
    parent = 'model.algorithm' if isinstance(model, HVSAlgorithm) else 'model'
    for name, module in model.named_modules():
        init = getattr(module, 'init_cfg', None)
        # A teacher is a copy that starts as its student does.
        is_copy = name.startswith('teacher.')
        if is_copy or class_name(init) != PretrainedBackbone.__name__:
            continue
        option = f'{parent}.{name}.init_cfg'
        path = init.get('checkpoint')
        check_checkpoint_given(path, option)
        if not osp.isfile(path):
            raise FileNotFoundError(f'{option}.checkpoint={path!r}: there is no such file.')
        load_backbone(
            module, path, init.get('prefix'), init.get('strict', True), init.get('trust', False)
        )


def resumed_checkpoint(cfg: Config) -> str | None:
    """The checkpoint a run goes on from, ``None`` if it starts anew.

    MMEngine starts anew, too, if it is to resume but finds no checkpoint in the work dir.

    Raises:
        ValueError: If there are checkpoints in the work dir, but none can be read.
    """
    if not cfg.get('resume'):
        return None
    if cfg.get('load_from'):
        return cfg.load_from
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    return latest_readable_checkpoint(CheckpointPaths.of(cfg.work_dir, hook))


def check_resume(cfg: Config, model: nn.Module, trust: bool = False) -> None:
    """Check that the checkpoint to resume from is one of this model.

    MMEngine loads what fits and starts the rest anew, but a run that goes on with another model's
    optimizer state is broken.

    Args:
        cfg: The complete config.
        model: The model it configures.
        trust: Read the checkpoint even if it holds objects that can run code.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If its weights are not those of the configured model.
    """
    path = resumed_checkpoint(cfg)
    if path is None or '://' in path:
        return
    checkpoint = _read_checkpoint(path, trust, '--resume ')
    saved = {k: tuple(v.shape) for k, v in checkpoint.get('state_dict', checkpoint).items()}
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    differing = sorted(key for key in own.keys() | saved.keys() if own.get(key) != saved.get(key))
    if differing:
        raise ValueError(
            f'--resume {path}: the checkpoint is of another model ({_saved_type(checkpoint)}, this '
            f'is {_type(cfg.model)}); {len(differing)} of {len(own)} tensors differ, such as '
            f'{", ".join(differing[:3])}. Resume from a checkpoint of this config, choose another '
            '--work-dir, or start from its weights alone with --cfg-options load_from=PATH.'
        )


def check_start(cfg: Config, model: nn.Module, trust: bool = False) -> None:
    """Check that the weights to start from, ``load_from`` without ``resume``, are of this network.

    Tensors that the checkpoint lacks, or has beside those of the model, are left to MMEngine, which
    lists them: a baseline may start from part of another method. MMEngine also goes on where shapes
    differ, with random weights in most places.

    Args:
        cfg: The complete config.
        model: The model it configures, which the weights are loaded into.
        trust: As for :func:`check_resume`.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If it cannot be read, shares no tensor with the model, or one has another
            shape.
    """
    path = cfg.get('load_from')
    if cfg.get('resume') or not path or '://' in path:
        return
    checkpoint = _read_checkpoint(path, trust, 'load_from=')
    # MMEngine takes off what DistributedDataParallel puts before every name.
    state = {
        key.removeprefix('module.'): value
        for key, value in checkpoint.get('state_dict', checkpoint).items()
    }
    own = model.state_dict().keys()
    if not own & state.keys():
        raise ValueError(
            f'load_from={path}: none of its tensors, such as {", ".join(list(state)[:3])}, is one '
            f'of this {_type(cfg.model)}. Published weights of DINO and iBOT are converted with '
            'tools/model_converters/published_to_hvs.py.'
        )
    try:
        model.load_state_dict(state, strict=False)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f'load_from={_another_model(path, checkpoint, _first_difference(error))}'
        ) from error


def check_weights(path: str, model: nn.Module, trust: bool = False) -> None:
    """Check that a checkpoint has all weights of a model.

    Args:
        path: The checkpoint. Further tensors in it are left alone.
        model: The model, which they are loaded into.
        trust: As for :func:`check_resume`.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If it cannot be read, or is of another model.
    """
    if '://' in path:
        return
    checkpoint = _read_checkpoint(path, trust)
    try:
        result = model.load_state_dict(checkpoint.get('state_dict', checkpoint), strict=False)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(_another_model(path, checkpoint, _first_difference(error))) from error
    missing = [key for key in result.missing_keys if not key.endswith('num_batches_tracked')]
    if missing:
        reason = f'it lacks {len(missing)} tensors, such as {", ".join(missing[:3])}.'
        raise ValueError(_another_model(path, checkpoint, reason))


def _first_difference(error: Exception) -> str:
    # torch names all that differ, one a line below its first.
    lines = str(error).strip().splitlines()
    return (lines[1:2] or lines)[0].strip()


def _another_model(path: str, checkpoint: dict[str, Any], reason: str) -> str:
    return (
        f'{path}: the checkpoint is of another model ({_saved_type(checkpoint)}) than the config: '
        f'{reason}'
    )


def _read_checkpoint(path: str, trust: bool, option: str = '') -> dict[str, Any]:
    if not osp.isfile(path):
        raise FileNotFoundError(f'{option}{path}: there is no such checkpoint.')
    try:
        # Only names and shapes are looked at.
        checkpoint = load_checkpoint(path, trust, mmap=True)
    except ValueError as error:
        raise ValueError(f'{option}{error}') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'{option}{path}: this is no checkpoint, but a {type(checkpoint).__name__}.'
        )
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
