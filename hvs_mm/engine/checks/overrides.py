"""Check that overridden settings exist, which MMEngine does not."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from torch.utils.data import DataLoader

from ...models.hvs_algorithm import MOVED_ARGUMENTS
from ...utils.class_name import class_name


def _arguments(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


#: Settings that MMEngine reads besides the arguments of its Runner.
_OTHER_RUNNER_KEYS = {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn',
}  # fmt: skip
#: Entries of a config that a run reads; others are helpers of the file.
RUNNER_KEYS = _arguments(Runner) | _OTHER_RUNNER_KEYS
_LOADER_KEYS = _arguments(DataLoader) | {'num_batch_per_epoch'}
#: Dicts without a ``type``, and the keys they may have.
_UNTYPED = {
    'auto_scale_lr': {'base_batch_size', 'enable'},
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'log_processor': _arguments(LogProcessor),
    'optim_wrapper.paramwise_cfg': {
        'bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate', 'custom_keys',
        'dcn_offset_lr_mult', 'dwconv_decay_mult', 'flat_decay_mult', 'norm_decay_mult',
    },
    'randomness': _arguments(Runner.set_randomness) - {'self'},
    'test_dataloader': _LOADER_KEYS,
    'train_dataloader': _LOADER_KEYS,
    'val_dataloader': _LOADER_KEYS,
}  # fmt: skip


def check_overrides(cfg: Config, overrides: dict[str, Any]) -> None:
    """Check that every overridden key exists: MMEngine would silently add it to the config.

    A key exists if the config has it, or if the class that its dict configures takes an argument
    of that name. Types that the overrides themselves set count.

    Args:
        cfg: The config, not yet overridden.
        overrides: Values by dotted keys, as ``--cfg-options`` gives them.

    Raises:
        ValueError: If a key does not exist, with the keys that look like it.
    """
    types = {key: value for key, value in overrides.items() if key.split('.')[-1] == 'type'}
    cfg = Config(cfg.to_dict())
    if class_name({'type': cfg.get('runner_type')}) == 'ReliableRunner' and 'default_hooks' in cfg:
        # It has these hooks by default.
        for name in ('Console', 'Threads', 'Preemption'):
            cfg.default_hooks.setdefault(name.lower(), dict(type=f'{name}Hook'))
        cfg.default_hooks.setdefault('lock', dict(type='WorkDirLockHook'))
        checkpoint = cfg.default_hooks.get('checkpoint')
        if checkpoint and class_name(checkpoint) == 'CheckpointHook':
            checkpoint.type = 'SafeCheckpointHook'
    for key, value in types.items():
        _check_key(cfg, key, is_new_type=True)
        cfg.merge_from_dict({key: value})
    for key in overrides.keys() - types.keys():
        _check_key(cfg, key)


def _check_key(cfg: Config, key: str, is_new_type: bool = False) -> None:
    scope = cfg.get('default_scope') or 'mmpretrain'
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        path = '.'.join(parts[:depth])
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                _raise_unknown(key, path, part, map(str, range(len(node))))
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, dict):
            if class_name(node) == 'HVSAlgorithm' and part in MOVED_ARGUMENTS:
                moved = '.'.join([path, *MOVED_ARGUMENTS[part]])
                raise ValueError(f'--cfg-options {key}=...: it is now {moved}.')
            known = _known_keys(node, path, scope)
            # A hook, for example, may be added under a new name with its type.
            adds = is_new_type and path in ('default_hooks', '') and depth == len(parts) - 2
            if known is not None and part not in known and not adds:
                _raise_unknown(key, path, part, known)
            return
        else:
            _raise_unknown(key, path, part, [])


def _known_keys(node: dict[str, Any], path: str, scope: str) -> set[str] | None:
    """The keys a dict may have, ``None`` if any."""
    if not path:
        return {*node, *RUNNER_KEYS}
    if path == 'default_hooks':
        return set(node)
    if path in _UNTYPED:
        return {*node, *_UNTYPED[path]}
    if 'type' not in node:
        return None
    cls = node['type'] if inspect.isclass(node['type']) else _find_class(node['type'], scope)
    taken = None if cls is None else _accepted_arguments(cls)
    return None if taken is None else {*node, *taken}


def _accepted_arguments(cls: Any) -> set[str] | None:
    """The arguments of a class, with those it passes on to its bases; ``None`` if any."""
    functions = [cls]
    if inspect.isclass(cls):
        functions = [vars(base)['__init__'] for base in cls.__mro__ if '__init__' in vars(base)]
    names: set[str] = set()
    for function in functions:
        if function is object.__init__:
            return None
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {'self'}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


def _find_class(name: str, scope: str) -> Any | None:
    # Packages use the same names for different classes.
    registries = importlib.import_module(f'{scope}.registry')
    for registry in vars(registries).values():
        if isinstance(registry, Registry) and (found := registry.get(name)) is not None:
            return found
    return None


def _raise_unknown(key: str, parent: str, part: str, known: Iterable[str]) -> None:
    known = sorted(known)
    close = get_close_matches(part, known, n=3)
    place = f'{parent!r}' if parent else 'the config'
    rest = f' and {len(known) - 8} more' if len(known) > 8 else ''
    hint = f'it has {", ".join(known[:8])}{rest}.'
    if close:
        hint = f'did you mean {" or ".join(map(repr, close))}?'
    raise ValueError(f'--cfg-options {key}=...: {place} has no key {part!r}; {hint}')
