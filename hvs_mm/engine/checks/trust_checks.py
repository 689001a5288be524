"""Refuse checkpoints that run code when they are read.

MMEngine reads checkpoints with ``torch.load(weights_only=False)``: on torch below 2.6 always, else
wherever a safe read fails. The author of such a file then decides what runs. Classes such as
MMPretrain's ``CLIPGenerator`` even read files when they are built. Here all files are
read safely first.
"""

from __future__ import annotations

import importlib.util
import os.path as osp
import pickletools
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from ...utils.class_name import class_name
from ...weights.checkpoint_files import load_checkpoint
from .checkpoint_checks import initialized_modules, resumed_checkpoint

#: Suffixes of torch and Python for files whose first byte does not tell that they are pickles.
_SUFFIXES = {'.pth', '.pt', '.pkl', '.pickle', '.ckpt', '.bin', '.tar'}


def check_trust(cfg: Config, model: nn.Module, trust: bool = False) -> None:
    """Check that no checkpoint that a run reads can run code; skip the check with ``trust``.

    The model must not be initialized yet.

    Raises:
        ValueError: If a file cannot be read safely, or MMEngine would download one.
    """
    resumed = resumed_checkpoint(cfg)
    check_sources(model, resumed or cfg.get('load_from'), resumed is not None, trust)


def check_sources(model: nn.Module, path: str | None, resumes: bool, trust: bool) -> None:
    """Check the checkpoint to resume or start from, and those in the ``init_cfg`` of modules.

    A ``PretrainedBackbone`` with ``trust=True`` is trusted.
    """
    if trust:
        return
    for option, module in initialized_modules(model):
        for settings in dicts_in(module.init_cfg):
            is_trusted = class_name(settings) == 'PretrainedBackbone' and settings.get('trust')
            if isinstance(settings.get('checkpoint'), str) and not is_trusted:
                _check_source(option, settings['checkpoint'])
    if path:
        _check_source('--resume' if resumes else 'load_from', path, resumes)


def dicts_in(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield all dicts in nested settings, the outer ones first."""
    return (value for _, value in _nested(settings) if isinstance(value, dict))


def _nested(settings: Any, option: str = '') -> Iterator[tuple[str, Any]]:
    """Yield settings and all values in them with their options, the outer ones first."""
    yield option, settings
    items: Iterable[tuple[Any, Any]] = []
    if isinstance(settings, dict):
        items = list(settings.items())
    elif isinstance(settings, (list, tuple)):
        items = enumerate(settings)
    for key, value in items:
        yield from _nested(value, f'{option}.{key}')


def _check_source(option: str, path: str, resumes: bool = False) -> None:
    if '://' in path:
        raise ValueError(
            f'{option}={path}: MMEngine would download the file and unpickle it, which runs '
            'whatever code is in it, before anybody can look. Download it and give its path, or '
            'add --trust if you trust its source.'
        )
    path = osp.expanduser(path)
    if not osp.isfile(path):
        # A missing file is reported when it is read.
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


def check_named_files(cfg: Config, trust: bool = False) -> None:
    """Check that no pickle named in the settings of a model can run code; ``trust`` skips that.

    Files in an ``init_cfg`` are left to :func:`check_trust`: they are read later.
    """
    if trust:
        return
    named = {key: cfg.get(key) for key in ('model', 'data_preprocessor')}
    for option, text in _nested(named):
        if not isinstance(text, str) or 'init_cfg' in option.split('.'):
            continue
        path = osp.expanduser(text)
        if osp.isfile(path) and is_pickled(path):
            try:
                load_checkpoint(path, mmap=True)
            except ValueError as error:
                hint = ' If you trust the source of the file, add --trust.'
                hint = '' if '--trust' in str(error) else hint
                raise ValueError(f'{option[1:]}: {error}{hint}') from error


def is_pickled(path: str | Path) -> bool:
    """Whether a file is a pickle, or an archive with one, whatever its name is."""
    path = Path(path)
    # A pickle with an archive behind it is read as a pickle.
    if path.suffix.lower() in _SUFFIXES or _is_bare_pickle(path):
        return True
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('.pkl') for name in archive.namelist())
    if tarfile.is_tarfile(path):
        # The format of torch 0.1.
        with tarfile.open(path) as archive:
            return 'pickle' in archive.getnames()
    return False


def _is_bare_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle that names a function or a class."""
    with path.open('rb') as file:
        # The first byte of all pickles but those of protocols 0 and 1.
        if file.read(1) == b'\x80':
            return True
        file.seek(0)
        try:
            # Parsed, not run. Everything before an error would be run.
            for code, argument, _ in pickletools.genops(file):
                if code.name in ('GLOBAL', 'INST') and _is_module(str(argument).partition(' ')[0]):
                    return True
        except Exception:
            # Other files make it raise more than it documents.
            return False
    return False


def _is_module(name: str) -> bool:
    # In protocols 0 and 1 the name might be a word of a text.
    top = name.partition('.')[0]
    return top in sys.modules or (top.isidentifier() and importlib.util.find_spec(top) is not None)
