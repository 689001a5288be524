"""Checks of a run before anything of it is built or written."""

from __future__ import annotations

import inspect
import os.path as osp
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import find_latest_checkpoint
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from ..models import HVSAlgorithm, check_batch_size, check_warmup_epochs


def preflight(cfg: Config) -> None:
    """Check the model's settings, the data sets and the checkpoint to resume from.

    Args:
        cfg: The complete config.

    Raises:
        FileNotFoundError: If a data set or checkpoint is missing.
        KeyError: If the config names a class that is not registered.
        TypeError: If a class does not take an argument.
        ValueError: If a class does not take the value of an argument, or the checkpoint to
            resume from is of another model.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_datasets(cfg)
        check_precision(cfg)
        # The Runner builds it again, but only after it has made the work dir.
        model_config = dict(cfg.model)
        if cfg.get('data_preprocessor'):
            model_config.setdefault('data_preprocessor', cfg.data_preprocessor)
        model = MODELS.build(model_config)
        check_loader(cfg, model)
        check_warmup(cfg, model)
        check_resume(cfg, model)


def check_datasets(cfg: Config) -> None:
    """Check that the files of the configured data sets are there.

    Raises:
        FileNotFoundError: If a folder or annotation file is missing.
    """
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        for key, dataset in _datasets((loader or {}).get('dataset'), f'{name}.dataset'):
            for path in _dataset_paths(dataset):
                if '://' not in path and not osp.exists(path):
                    raise FileNotFoundError(
                        f'{key}: {path!r} does not exist (data_root='
                        f'{dataset.get("data_root", "")!r}). Give the place of the images with '
                        f'--cfg-options {key}.data_root=PATH, see docs/datasets.md; "make demo" '
                        'trains without any data set.'
                    )


def _datasets(dataset: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configs of the data sets inside wrappers such as ``RepeatDataset``."""
    if isinstance(dataset, dict):
        inner = dataset.get('dataset', dataset.get('datasets'))
        if inner is None:
            yield key, dataset
        elif isinstance(inner, dict):
            yield from _datasets(inner, f'{key}.dataset')
        else:
            for number, one in enumerate(inner):
                yield from _datasets(one, f'{key}.datasets.{number}')


def _dataset_paths(config: dict[str, Any]) -> list[str]:
    """The root, the image folder and the annotation file a data set is going to read."""
    paths = [config['data_root']] if config.get('data_root') else []
    if paths and not osp.exists(paths[0]):
        return paths
    cls = DATASETS.get(config['type']) if isinstance(config['type'], str) else config['type']
    if cls is None or (config.get('download', True) and 'download' in _parameters(cls)):
        # Upstream's own downloading data sets make their files themselves.
        return paths
    # Building it lazily resolves the folders without reading them.
    dataset = DATASETS.build({**config, 'lazy_init': True})
    prefixes = getattr(dataset, 'data_prefix', None) or {}
    paths += [prefix for prefix in prefixes.values() if prefix]
    if getattr(dataset, 'ann_file', ''):
        paths.append(dataset.ann_file)
    return paths


def _parameters(cls: type) -> set[str]:
    return set(inspect.signature(cls).parameters)


def check_precision(cfg: Config) -> None:
    """Check that the optimizer wrapper runs on this machine.

    Raises:
        ValueError: If it is ``AmpOptimWrapper`` and there is no GPU.
    """
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        raise ValueError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU, and torch.cuda.is_available() is "
            'False: add --amp, which takes bfloat16 on the CPU, or set '
            'optim_wrapper.type=OptimWrapper.'
        )


def check_loader(cfg: Config, model: nn.Module) -> None:
    """Check that the loader gives the views that an HVS model needs, in batches it can train on.

    Raises:
        ValueError: If ``CandidateViews`` draws another number of views than ``candidates``, or
            BatchNorm would have to normalize a single sample.
    """
    if not isinstance(model, HVSAlgorithm) or cfg.get('train_dataloader') is None:
        return
    for key, dataset in _datasets(cfg.train_dataloader.dataset, 'train_dataloader.dataset'):
        for number, step in enumerate(dataset.get('pipeline') or []):
            kind = step.get('type') if isinstance(step, dict) else type(step)
            if getattr(kind, '__name__', kind) == 'CandidateViews' and isinstance(step, dict):
                drawn = step['num_views']
                drawn = [drawn] if isinstance(drawn, int) else list(drawn)
                if sum(drawn) != sum(model.candidates):
                    raise ValueError(
                        f'{key}.pipeline.{number}.num_views={drawn}: the loader gives '
                        f'{sum(drawn)} views per image, but candidates={list(model.candidates)} '
                        f'needs {sum(model.candidates)}. Make them equal.'
                    )
    if cfg.get('launcher', 'none') == 'none':
        check_batch_size(model.train().algorithm, cfg.train_dataloader.get('batch_size', 1))


def check_warmup(cfg: Config, model: nn.Module) -> None:
    """Check that the teacher's temperature has warmed up when the run ends.

    Raises:
        ValueError: If the warm-up is longer than the run.
    """
    warmup = getattr(getattr(model, 'head', None), 'warmup_teacher_temp_epochs', None)
    max_epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if warmup is not None and max_epochs is not None:
        check_warmup_epochs(warmup, max_epochs)


def check_resume(cfg: Config, model: nn.Module) -> None:
    """Check that the checkpoint to resume from is one of this model.

    MMEngine loads what fits and starts the rest anew. That is right for ``load_from``, but a run
    that goes on with another model's optimizer state is broken.

    Args:
        cfg: The complete config.
        model: The model it configures.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If its weights are not those of the configured model.
    """
    if not cfg.get('resume'):
        path = cfg.get('load_from')
        if path and '://' not in path and not osp.isfile(path):
            raise FileNotFoundError(f'load_from={path!r}: there is no such checkpoint.')
        return
    path = cfg.get('load_from') or find_latest_checkpoint(cfg.work_dir)
    if path is None or '://' in path:
        return
    checkpoint = _read_checkpoint(path)
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


def _read_checkpoint(path: str) -> dict[str, Any]:
    if not osp.isfile(path):
        raise FileNotFoundError(f'--resume {path}: there is no such checkpoint.')
    try:
        # Only names and shapes are looked at. Checkpoints of the format before torch 1.6 cannot
        # be mapped into memory.
        mmap = zipfile.is_zipfile(path)
        return torch.load(path, map_location='cpu', weights_only=False, mmap=mmap)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f'--resume {path}: this is no checkpoint ({error}).') from error


def _type(model: dict[str, Any]) -> str:
    inner = model.get('algorithm')
    return f'{model["type"]} of {inner["type"]}' if isinstance(inner, dict) else str(model['type'])


def _saved_type(checkpoint: dict[str, Any]) -> str:
    text = checkpoint.get('meta', {}).get('cfg')
    if not text:
        return 'type unknown'
    return _type(Config.fromstring(text, file_format='.py').model)
