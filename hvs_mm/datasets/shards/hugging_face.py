"""Data sets of Hugging Face on disk: splits, columns, rows. Nothing is downloaded."""

from __future__ import annotations

import json
import os
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

#: Files that ``save_to_disk`` writes for several splits, and for one.
_SPLITS, _STATE = 'dataset_dict.json', 'state.json'
#: Names of splits in those of parquet files or of their folders, as the hub has them.
_SPLIT_NAMES = ('train', 'validation', 'valid', 'val', 'test')
_MAGIC = b'PAR1'


class Columns(NamedTuple):
    """What the columns of a data set mean.

    Attributes:
        image: Name of the column of images.
        label: Name of the column of classes, if there is one.
        classes: Their names.
    """

    image: str
    label: str | None
    classes: tuple[str, ...]


def list_splits(path: str) -> list[str]:
    """Names of the splits of a data set; ``['']`` if it has none.

    Args:
        path: Folder that ``save_to_disk`` has written, folder of parquet files, or such a file.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If it is none of these.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(
            f'hf:{path}: there is no such folder or file. Name a folder that save_to_disk of '
            'datasets has written, or parquet files on this machine: nothing is downloaded.'
        )
    if (folder / _SPLITS).is_file():
        return json.loads((folder / _SPLITS).read_text(encoding='utf-8'))['splits']
    return [''] if (folder / _STATE).is_file() else list(_parquet_files(path))


def find_columns(path: str, split: str, image: str = '', label: str = '') -> Columns:
    """Find the columns of images and of classes; given names are checked.

    Raises:
        ImportError: If datasets is not installed.
        ValueError: If there is no such column, or none of images.
    """
    features = _open(path, split).features
    found = [name for name, feature in features.items() if _is_image(feature)]
    if image and image not in found:
        raise ValueError(f'hf:{path}: image={image!r} is no column of images, those are {found}.')
    if not found:
        kinds = ', '.join(f'{name} ({type(f).__name__})' for name, f in features.items())
        raise ValueError(
            f'hf:{path}: there is no column of images, but {kinds}: store them as Image() or as '
            'bytes of JPEG or PNG files.'
        )
    named = [name for name, feature in features.items() if hasattr(feature, 'names')]
    if label and label not in features:
        raise ValueError(f'hf:{path}: label={label!r} is no column, those are {list(features)}.')
    label = label or next(iter(named), '')
    return Columns(
        image or found[0],
        label or None,
        tuple(getattr(features[label], 'names', None) or ()) if label else (),
    )


def read_labels(path: str, split: str, label: str) -> np.ndarray:
    """(N,) int64 classes of all rows; -1 where there is none.

    Raises:
        ValueError: If they are no numbers.
    """
    table = _open(path, split).select_columns([label]).with_format('arrow')[:]
    try:
        labels = table[label].fill_null(-1).to_numpy().astype(np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(f'hf:{path}: label={label!r} holds no numbers ({error}).') from error
    return labels


@lru_cache(maxsize=8)
def open_column(path: str, split: str, column: str) -> Dataset:
    """A data set of one column of images, whose rows are ``{column: {'bytes', 'path'}}``."""
    from datasets import Image

    return _open(path, split).select_columns([column]).cast_column(column, Image(decode=False))


@lru_cache(maxsize=8)
def _open(path: str, split: str) -> Dataset:
    """A split, mapped into memory.

    Raises:
        ImportError: If datasets is not installed.
        ValueError: If it cannot be read.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f'hf:{path}: this needs the package datasets: pip install "hvs-mm[shards]".'
        ) from error
    if split not in (splits := list_splits(path)):
        raise ValueError(f'hf:{path}: split={split!r} is unknown, there are {splits}.')
    folder = Path(path)
    try:
        if (folder / _SPLITS).is_file() or (folder / _STATE).is_file():
            return datasets.load_from_disk(folder / split)
        files = _whole_files(_parquet_files(path)[split])
        return datasets.load_dataset('parquet', data_files=files, split='train')
    except Exception as error:
        # Errors of datasets and of Arrow, of many types.
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f'hf:{path}: {split or "the data set"} cannot be read ({type(error).__name__}: '
            f'{reason}). Write it again with save_to_disk, or remove the damaged file.'
        ) from error


def _parquet_files(path: str) -> dict[str, list[str]]:
    """Parquet files by split."""
    folder = Path(path)
    files = [folder] if folder.is_file() else sorted(folder.rglob('*.parquet'))
    if not files or files[0].suffix != '.parquet':
        raise ValueError(
            f'hf:{path}: expected a folder that save_to_disk of datasets has written, or .parquet '
            'files. Images, tar shards and lists are named without "hf:".'
        )
    splits: dict[str, list[str]] = {}
    for file in files:
        words = [re.split(r'[-_.]', part)[0] for part in (file.name, file.parent.name)]
        split = next((word for word in words if word in _SPLIT_NAMES), '')
        splits.setdefault(split, []).append(str(file))
    return splits


def _whole_files(files: list[str]) -> list[str]:
    """Leave out files that are cut off: the table of contents of a parquet file is its end."""
    whole = []
    for path in files:
        with open(path, 'rb') as file:
            start = file.read(4)
            file.seek(max(os.path.getsize(path) - 4, 0))
            is_whole = start == _MAGIC == file.read()
        if is_whole:
            whole.append(path)
        else:
            warnings.warn(
                f'damaged file: {path} is no whole parquet file, its rows are lost.', stacklevel=3
            )
    if not whole:
        raise ValueError('all files are damaged')
    return whole


def _is_image(feature: object) -> bool:
    from datasets import Image, Value

    if isinstance(feature, dict):
        # Without the metadata of datasets.
        return 'bytes' in feature
    is_bytes = isinstance(feature, Value) and feature.dtype in ('binary', 'large_binary')
    return is_bytes or isinstance(feature, Image)
