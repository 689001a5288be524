"""Find the images of tar shards and of data sets of Hugging Face that a user points at."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..datasets.shards.addresses import INSIDE, RowAddresses, TarAddresses
from ..datasets.shards.hugging_face import find_columns, list_splits, open_column, read_labels
from ..datasets.shards.shard_datasets import class_numbers, default_split
from ..datasets.shards.tar_index import expand_shards, read_index
from .images import HELD_OUT, ImageSource

_HUGGING_FACE = 'hf:'
#: Compressed ones are rejected where they are read.
_TAR = re.compile(r'.*\.(tar(\.\w+)?|tgz)', re.DOTALL)


@dataclass(frozen=True, eq=False)
class ShardSource(ImageSource):
    """Images inside of large files; ``root`` and ``paths`` are parts of their addresses.

    Attributes:
        settings: The config of their data set.
        all_labels: (N,) int64 classes, if there are any.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    all_labels: np.ndarray | None = None
    sampler = 'BlockSampler'
    class_kind = 'classes'
    no_labels = (
        'not every image has a label: a cls member with a number next to each image of a tar '
        'shard, or a ClassLabel column of a data set of Hugging Face, and at least two classes. '
        'Features without labels: hvs-mm embed.'
    )

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 number of each image's class. Without classes all are 0."""
        return np.zeros(len(self), np.int64) if self.all_labels is None else self.all_labels

    def dataset(self) -> dict[str, Any]:
        """The config of a data set of the images, without labels and without a pipeline."""
        return dict(self.settings, with_label=False)


def is_sharded(data: str | os.PathLike) -> bool:
    """Whether images are in tar shards or in a data set of Hugging Face."""
    return str(data).startswith(_HUGGING_FACE) or _TAR.fullmatch(str(data)) is not None


def find_shards(data: str | os.PathLike) -> ShardSource:
    """Find images by ``'shards-{000..099}.tar'`` or ``'hf:PATH'``.

    Of a data set of Hugging Face with several splits, ``train`` is for training, and the split for
    validation or testing is held out.

    Raises:
        FileNotFoundError: If a shard or folder is missing.
        ImportError: If a package is missing.
        ValueError: If something cannot be read, or there are no images.
    """
    if str(data).startswith(_HUGGING_FACE):
        path = os.path.abspath(os.path.expanduser(str(data).removeprefix(_HUGGING_FACE)))
        splits = list_splits(path)
        name = default_split(splits)
        held_out = next((other for other in HELD_OUT if other in splits and other != name), None)
        other = None if held_out is None else _find_rows(path, held_out)
        found = _find_rows(path, name, other)
        # Other classes cannot be told apart by these images.
        is_usable = other is None or (other.classes and other.classes == found.classes)
        return found if is_usable else _find_rows(path, name)
    shards = expand_shards(data)
    index = read_index(shards)
    folder = os.path.commonpath([os.path.dirname(shard) for shard in shards])
    labels, classes = _check_labels(index.label, ())
    return ShardSource(
        root=f'tar://{folder}',
        paths=TarAddresses(index, root=os.path.join(folder, '')),
        classes=classes,
        settings=dict(type='WebDatasetImages', shards=os.path.abspath(os.path.expanduser(data))),
        all_labels=labels,
    )


def _find_rows(path: str, split: str, held_out: ShardSource | None = None) -> ShardSource:
    columns = find_columns(path, split)
    labels, classes = None, columns.classes
    if columns.label is not None:
        labels, classes = _check_labels(read_labels(path, split, columns.label), classes)
    number = len(open_column(path, split, columns.image))
    return ShardSource(
        root=f'hf://{path}{INSIDE}{split}/{columns.image}',
        paths=RowAddresses('', range(number)),
        classes=classes,
        held_out=held_out,
        settings=dict(type='HuggingFaceImages', path=path, split=split),
        all_labels=labels,
    )


def _check_labels(
    labels: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels and the names of their classes; none if an image has no label, or all the same."""
    if not len(labels) or labels.min() < 0 or labels.min() == labels.max():
        return None, ()
    return labels, tuple(classes) or class_numbers(labels)
