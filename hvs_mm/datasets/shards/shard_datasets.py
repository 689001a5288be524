"""Data sets of images in tar shards and in data sets of Hugging Face, by position."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.registry import DATASETS

from .addresses import INSIDE, RowAddresses, TarAddresses
from .hugging_face import find_columns, list_splits, open_column, read_labels
from .tar_index import expand_shards, read_index


class Records(Sequence):
    """What MMEngine's data sets keep of each image, made when it is asked for."""

    def __init__(self, addresses: Sequence[str], labels: np.ndarray | None) -> None:
        self.addresses, self.labels = addresses, labels

    def __len__(self) -> int:
        return len(self.addresses)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            labels = None if self.labels is None else self.labels[number]
            return Records(self.addresses[number], labels)
        record: dict[str, Any] = {'img_path': self.addresses[number]}
        if self.labels is not None:
            record['gt_label'] = int(self.labels[number])
        return record


class _ShardDataset(BaseDataset):
    """A data set without files of its own."""

    def __init__(self, with_label: bool, metainfo: Mapping | None, **kwargs: Any) -> None:
        self.with_label = with_label
        # Arrays are shared with workers as they are.
        kwargs['serialize_data'] = False
        super().__init__(ann_file='', data_root='', data_prefix='', metainfo=metainfo, **kwargs)

    def _records(
        self, addresses: Sequence[str], labels: np.ndarray | None, classes: Sequence[str], what: str
    ) -> Records:
        """The records, and the names of classes into the meta information."""
        if not self.with_label:
            return Records(addresses, None)
        if labels is None or labels.min() < 0:
            raise ValueError(
                f'{type(self).__name__}: not every image has a label ({what}): set '
                'with_label=False.'
            )
        self._metainfo.setdefault('classes', classes or class_numbers(labels))
        return Records(addresses, labels)


def class_numbers(labels: np.ndarray) -> tuple[str, ...]:
    """Names of classes that have none: their numbers."""
    return tuple(map(str, range(int(labels.max()) + 1)))


@DATASETS.register_module()
class WebDatasetImages(_ShardDataset):
    """Images in tar shards in the layout of WebDataset, such as ``000017.jpg, 000017.cls``.

    Every image can be read by its position: an index of all headers is read once, and kept next to
    the shards, see :func:`hvs_mm.datasets.shards.tar_index.read_index`. A pipeline gets
    ``img_path``, an address that ``LoadCheckedImage`` and upstream's ``LoadImageFromFile`` read;
    with labels ``gt_label``; and ``sample_idx``, the position. ``BlockSampler`` reads long pieces.

    Args:
        shards: Pattern of the shards: ``{000..099}``, ``{a,b}`` and ``*`` are expanded.
        with_label: Whether images have labels: a ``cls`` member with a number, or a ``json`` one
            with a number as ``label`` or ``cls``.
        metainfo: Meta information; ``classes`` names the classes, otherwise their numbers do.
        **kwargs: Further arguments of MMEngine's ``BaseDataset``, such as ``pipeline`` and
            ``indices``, except for those about files.

    Raises:
        FileNotFoundError: If a shard is missing.
        ImportError: If braceexpand is needed and missing.
        ValueError: If there are no images, a shard is compressed, or labels are missing.
    """

    def __init__(
        self,
        shards: str | os.PathLike,
        with_label: bool = True,
        metainfo: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        self.shards = str(shards)
        #: Damaged shards, and about how many images they have lost.
        self.damaged: tuple[list[str], int] = ([], 0)
        super().__init__(with_label, metainfo, **kwargs)

    def load_data_list(self) -> Records:
        """The records of all shards; no image is read."""
        index = read_index(expand_shards(self.shards))
        self.damaged = index.damaged()
        return self._records(TarAddresses(index), index.label, (), 'a cls or json member')

    def read_ahead(self, positions: np.ndarray) -> None:
        """Ask the system to read images into its page cache, without waiting for them."""
        addresses = getattr(self.data_list, 'addresses', None)
        # With a list of indices there are single records only.
        if isinstance(addresses, TarAddresses):
            addresses.read_ahead(positions)

    def extra_repr(self) -> list[str]:
        """Lines that ``repr`` adds to those of the base class."""
        return [f'Shards: \t{self.shards}']


@DATASETS.register_module()
class HuggingFaceImages(_ShardDataset):
    """Images of a data set of Hugging Face ``datasets`` on disk: Arrow or Parquet.

    Rows of Arrow files are mapped into memory. Parquet files are converted to Arrow once, by
    ``datasets``, in its cache (``HF_DATASETS_CACHE``). A pipeline gets the same entries as from
    :class:`WebDatasetImages`.

    Args:
        path: Folder that ``save_to_disk`` has written, folder of parquet files, or such a file.
        split: Name of a split; by default ``'train'``, or the only one.
        image: Column of images; by default the first of them.
        label: Column of classes; by default the first ``ClassLabel``.
        with_label: Whether images have labels.
        metainfo: Meta information; ``classes`` may rename the classes.
        **kwargs: Further arguments of MMEngine's ``BaseDataset``, such as ``pipeline`` and
            ``indices``, except for those about files.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ImportError: If datasets is not installed.
        ValueError: If the data set, the split or a column cannot be read, or labels are missing.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        split: str = '',
        image: str = '',
        label: str = '',
        with_label: bool = True,
        metainfo: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.split, self.columns = split, (image, label)
        super().__init__(with_label, metainfo, **kwargs)

    def load_data_list(self) -> Records:
        """The records of all rows; no image is read."""
        split = self.split or default_split(list_splits(self.path))
        columns = find_columns(self.path, split, *self.columns)
        labels = None
        if self.with_label and columns.label is not None:
            labels = read_labels(self.path, split, columns.label)
        rows = range(len(open_column(self.path, split, columns.image)))
        root = f'hf://{self.path}{INSIDE}{split}/{columns.image}/'
        addresses = RowAddresses(root, rows)
        return self._records(addresses, labels, columns.classes, 'a ClassLabel column')

    def extra_repr(self) -> list[str]:
        """Lines that ``repr`` adds to those of the base class."""
        return [f'Path: \t{self.path}', f'Split: \t{self.split}']


def default_split(splits: Sequence[str]) -> str:
    """``'train'`` if there is one."""
    return 'train' if 'train' in splits else splits[0]
