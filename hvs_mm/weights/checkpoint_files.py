"""Read and write checkpoints of others without running code that may be in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from torch import Tensor

from ..utils.atomic_write import atomic_write
from ..utils.printable import is_unicode

try:  # NumPy 2
    from numpy._core import multiarray
except ImportError:
    from numpy.core import multiarray  # type: ignore[no-redef]

#: Bytes to which a compressed checkpoint may grow in any case. torch compresses none.
_MOST_INFLATED = 2**30


def load_checkpoint(path: str | Path, trust: bool = False, mmap: bool = False) -> Any:
    """Read a checkpoint to the CPU: a pickle of torch, or ``.safetensors`` by its ending.

    Besides tensors and plain Python objects it may hold the types of published checkpoints and of
    MMEngine's: ``argparse.Namespace``, NumPy's numbers and arrays, ``HistoryBuffer`` and
    ``ConfigDict``. With ``trust`` all other types are unpickled, too, which can run any code, and
    an archive may grow to any size; with ``mmap`` tensors stay in the file until they are used, if
    its format allows.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or is an archive that grows too large.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'checkpoint {str(path)!r} does not exist.')
    if Path(path).suffix == '.safetensors':
        return _load_safetensors(path)
    if not trust:
        check_inflation(path)
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            # Checkpoints of the format before torch 1.6 cannot be mapped into memory.
            mmap = mmap and zipfile.is_zipfile(path) and is_unicode(path)
            return torch.load(str(path), map_location='cpu', weights_only=not trust, mmap=mmap)
    except Exception as error:
        # Truncated and foreign files fail in more ways than torch documents, and most errors do not
        # name the file.
        raise ValueError(f'{path} {_refusal(error)}') from error


def check_inflation(path: str | Path) -> None:
    """Check that an archive does not grow far beyond its file when it is read.

    Reads the sizes in the directory at the end of the archive, and decompresses nothing. Other
    files pass.

    Raises:
        ValueError: If its content is larger than 1 GiB and than twice the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        # No archive, or a damaged one, of which the reader says what is wrong.
        return
    size = Path(path).stat().st_size
    if content > max(_MOST_INFLATED, 2 * size):
        raise ValueError(
            f'{path} has {_gigabytes(size)} and holds {_gigabytes(content)}, while checkpoints are '
            'not compressed: reading it could fill the memory. If you trust the source of the '
            'file, add --trust; in Python and in a config it is trust=True.'
        )


def _gigabytes(number: int) -> str:
    return f'{number / 2**30:.3g} GiB'


def _load_safetensors(path: str | Path) -> dict[str, Tensor]:
    # Not above: only files of others need it.
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(f'{path} is no file of safetensors: {error}') from error


def _refusal(error: Exception) -> str:
    refused = re.search(r"(?:GLOBAL |got <class ')([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and refused is not None:
        return (
            f'holds a {refused[1]}, which is not read because a pickle can run any code: reading '
            f'it would import {refused[1]} and call it with whatever is in the file. If you trust '
            'the source of the file, add --trust, which every tool has that reads checkpoints; in '
            'Python and in a config it is trust=True.'
        )
    # torch surrounds the cause with advice to its developers, and to read the file unprotected.
    found = re.search(r'WeightsUnpickler error:\s*(.+)', str(error))
    reason = found[1] if found else str(error).partition('\n')[0].partition('. ')[0]
    if reason.isdecimal():
        reason = 'it is no pickle, or a broken one'
    return f'is no checkpoint that torch can read: {reason or type(error).__name__}'


def check_output(path: str | Path, overwrite: bool) -> None:
    """Raise ``FileExistsError`` if a file would be overwritten that must not be."""
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f'{str(path)!r} exists: name another file, or add --force.')


def save_checkpoint(checkpoint: Any, path: str | Path) -> None:
    """Write a checkpoint. If that fails, nothing is left and an older file stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished:
        torch.save(checkpoint, unfinished)


def _safe_globals() -> list[Any]:
    # Numbers and text, but neither objects nor records, which may hold objects.
    dtypes = {type(np.dtype(code)) for code in '?bhilqBHILQefdgFDGSU'}
    return [
        Namespace,
        HistoryBuffer,
        # Checkpoints hold the `metainfo` of a data set as its config gives it.
        ConfigDict,
        set,
        frozenset,
        slice,
        np.dtype,
        np.ndarray,
        *dtypes,
        _under_name(_method_of_history_buffer, 'builtins', 'getattr'),
        *(
            _under_name(getattr(multiarray, name), module, name)
            for name in ('scalar', '_reconstruct')
            for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
        ),
    ]


def _method_of_history_buffer(owner: Any, name: str) -> Any:
    # A HistoryBuffer is pickled together with methods of its class, its statistics.
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'Unsupported: GLOBAL builtins.getattr of {owner!r}')
    return getattr(owner, name)


def _under_name(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """A function under the name it has in a file: NumPy 2 moved its own.

    torch 2.5 finds an allowed function only by the name it carries.
    """

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, call.__name__, call.__qualname__ = module, name, name
    return call
