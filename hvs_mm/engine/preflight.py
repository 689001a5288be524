"""Checks of a run before anything of it is built or written."""

from __future__ import annotations

import inspect
import os.path as osp
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import mmpretrain.registry
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner, find_latest_checkpoint
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

#: What MMEngine reads from a config beside the arguments of its Runner.
_OTHER_RUNNER_KEYS = {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
}


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
        # The Runner builds it again, but only after it has made the work dir.
        model_config = dict(cfg.model)
        if cfg.get('data_preprocessor'):
            model_config.setdefault('data_preprocessor', cfg.data_preprocessor)
        check_resume(cfg, MODELS.build(model_config))


def check_overrides(cfg: Config, overrides: dict[str, Any]) -> None:
    """Check that every overridden key exists: MMEngine would silently add it to the config.

    A key exists if the config has it, if it is an argument of the class that the dict around it
    configures, or if the dict around it takes any keys.

    Args:
        cfg: The config, not yet overridden.
        overrides: Values by dotted keys, as ``--cfg-options`` gives them.

    Raises:
        ValueError: If a key does not exist, with the keys that look like it.
    """
    for key in overrides:
        node: Any = cfg._cfg_dict
        path: list[str] = []
        for part in key.split('.'):
            if isinstance(node, (list, tuple)):
                if not part.isdigit() or int(part) >= len(node):
                    _raise_unknown(key, '.'.join(path), part, map(str, range(len(node))))
                node = node[int(part)]
            elif isinstance(node, dict):
                if part not in node:
                    known = _known_keys(node, is_top_level=not path)
                    if known is not None and part not in known:
                        _raise_unknown(key, '.'.join(path), part, known)
                    break
                node = node[part]
            else:
                break
            path.append(part)


def _known_keys(node: dict[str, Any], is_top_level: bool) -> set[str] | None:
    """The keys a dict may have, ``None`` if any."""
    if is_top_level:
        return {*node, *inspect.signature(Runner).parameters, *_OTHER_RUNNER_KEYS}
    if 'type' not in node:
        return None
    cls = node['type'] if inspect.isclass(node['type']) else _find_class(node['type'])
    if cls is None:
        return None
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {*node, *(p.name for p in parameters)}


def _find_class(name: str) -> Any | None:
    for registry in vars(mmpretrain.registry).values():
        if isinstance(registry, Registry) and (found := registry.get(name)) is not None:
            return found
    return None


def _raise_unknown(key: str, parent: str, part: str, known: Any) -> None:
    known = sorted(known)
    close = get_close_matches(part, known, n=3)
    place = f'{parent!r}' if parent else 'the config'
    hint = f'did you mean {" or ".join(map(repr, close))}?' if close else f'it has {known}.'
    raise ValueError(f'--cfg-options {key}=...: {place} has no key {part!r}; {hint}')


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
    cls = DATASETS.get(config['type'])
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
        return
    path = cfg.get('load_from') or find_latest_checkpoint(cfg.work_dir)
    if path is None or '://' in path:
        return
    if not osp.isfile(path):
        raise FileNotFoundError(f'--resume {path}: there is no such checkpoint.')
    # mmap: only names and shapes are looked at.
    checkpoint = torch.load(path, map_location='cpu', weights_only=False, mmap=True)
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


def _type(model: dict[str, Any]) -> str:
    inner = model.get('algorithm')
    return f'{model["type"]} of {inner["type"]}' if isinstance(inner, dict) else str(model['type'])


def _saved_type(checkpoint: dict[str, Any]) -> str:
    text = checkpoint.get('meta', {}).get('cfg')
    if not text:
        return 'type unknown'
    return _type(Config.fromstring(text, file_format='.py').model)
