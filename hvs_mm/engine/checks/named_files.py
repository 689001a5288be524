"""Refuse files that constructors of a model may unpickle, before anything is built.

Some classes read a checkpoint as soon as they are built, such as MMPretrain's ``CLIPGenerator``
its ``tokenizer_path``. Whether a class does cannot be known; what its settings name can be looked
at.
"""

from __future__ import annotations

import importlib.util
import os.path as osp
import pickletools
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...weights.checkpoint_files import load_checkpoint

#: Where a first byte does not tell: the names that torch and Python give.
_SUFFIXES = {'.pth', '.pt', '.pkl', '.pickle', '.ckpt', '.bin', '.tar'}


def check_named_files(cfg: Config, trust: bool = False) -> None:
    """Check that no file that the settings of a model name can run code when it is read.

    What ``init_cfg`` names is not looked at: it is read later.

    Args:
        cfg: The complete config.
        trust: Check nothing.

    Raises:
        ValueError: If a file is a pickle or an archive of torch, and cannot be read safely.
    """
    if trust:
        return
    for key in ('model', 'data_preprocessor'):
        for option, path in _texts(cfg.get(key), key):
            path = osp.expanduser(path)
            if not osp.isfile(path) or not is_pickled(path):
                continue
            try:
                load_checkpoint(path, mmap=True)
            except ValueError as error:
                way_out = ' If you trust the source of the file, add --trust.'
                raise ValueError(
                    f'{option}: {error}{"" if "--trust" in str(error) else way_out}'
                ) from error


def is_pickled(path: str | Path) -> bool:
    """Whether a file is a pickle, or an archive with one, whatever its name is.

    Args:
        path: A file.
    """
    path = Path(path)
    # A pickle may have an archive behind it, and is read all the same.
    return path.suffix.lower() in _SUFFIXES or _calls_something(path) or _holds_pickle(path)


def _holds_pickle(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('.pkl') for name in archive.namelist())
    if tarfile.is_tarfile(path):
        # As torch 0.1 wrote them.
        with tarfile.open(path) as archive:
            return 'pickle' in archive.getnames()
    return False


def _calls_something(path: Path) -> bool:
    """Whether a file begins as a pickle that names a function or a class."""
    with path.open('rb') as file:
        # Of all pickles but those of protocols 0 and 1.
        if file.read(1) == b'\x80':
            return True
        file.seek(0)
        try:
            # Looked at, not run. What stands before an error would be run.
            for code, argument, _ in pickletools.genops(file):
                if code.name in ('GLOBAL', 'INST') and _is_module(argument.partition(' ')[0]):
                    return True
        except Exception:
            # Of what is no pickle it raises more than is documented.
            return False
    return False


def _is_module(name: str) -> bool:
    # In protocols 0 and 1 it might be a word of a text.
    top = name.partition('.')[0]
    return top in sys.modules or (top.isidentifier() and importlib.util.find_spec(top) is not None)


def _texts(settings: Any, option: str) -> Iterator[tuple[str, str]]:
    """All texts in settings with their options."""
    if isinstance(settings, str):
        yield option, settings
    elif isinstance(settings, dict):
        for key, value in settings.items():
            if key != 'init_cfg':
                yield from _texts(value, f'{option}.{key}')
    elif isinstance(settings, (list, tuple)):
        for number, value in enumerate(settings):
            yield from _texts(value, f'{option}.{number}')
