"""Addresses of images inside of large files, which MMEngine reads like paths of files.

``tar:///data/shards-000.tar!/cat/17.jpg?512+3452`` are 3452 bytes of a shard from byte 512 on;
``hf:///data/cats!/train/image/17`` is a row of a column of a data set of Hugging Face. So whatever
loads an image by its path loads these, too: transforms, lists of images, k-NN.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from ..loading.image_files import MAX_BYTES, read_image
from .hugging_face import open_column
from .tar_index import TarIndex

#: Between the file and what is in it, as in addresses of Java archives.
INSIDE = '!/'
#: Shards that a process keeps open.
_OPEN_SHARDS = 256


class _InsideBackend(BaseStorageBackend):
    """What both kinds have in common."""

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)

    def join_path(self, filepath: str, *filepaths: str) -> str:
        return '/'.join([filepath, *filepaths])


class TarBackend(_InsideBackend):
    """Reads images of tar shards by :func:`tar_address`."""

    def __init__(self, **kwargs: Any) -> None:
        self._shards: OrderedDict[str, _Shard] = OrderedDict()

    def get(self, filepath: str) -> bytes:
        """The content of an image file.

        Raises:
            OSError: If the shard is not there any more, or is shorter than its index says.
            ValueError: If the image is too large.
        """
        shard, _, rest = filepath.removeprefix('tar://').partition(INSIDE)
        offset, size = map(int, rest.rpartition('?')[2].split('+'))
        if size > MAX_BYTES:
            raise ValueError(f'too large: {size} bytes, at most {MAX_BYTES} are read')
        # No position is shared: workers inherit what this process has opened.
        content = os.pread(self._open(shard).handle, size, offset)
        if len(content) != size:
            raise OSError(errno.EIO, f'the shard ends {size - len(content)} bytes before the image')
        return content

    def _open(self, shard: str) -> _Shard:
        if shard in self._shards:
            self._shards.move_to_end(shard)
        else:
            self._shards[shard] = _Shard(shard)
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        return self._shards[shard]


class _Shard:
    """An open file, closed when it is not needed any more."""

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, 'handle'):
            os.close(self.handle)


class HuggingFaceBackend(_InsideBackend):
    """Reads images of data sets of Hugging Face by their addresses."""

    def __init__(self, **kwargs: Any) -> None:
        pass

    def get(self, filepath: str) -> bytes:
        """The content of an image file.

        Raises:
            OSError: If the row holds no image, or only the path of a file that is not there.
            ValueError: If that file is too large, or a pipe or device.
        """
        path, _, rest = filepath.removeprefix('hf://').partition(INSIDE)
        split, _, rest = rest.partition('/')
        column, _, row = rest.rpartition('/')
        image = open_column(path, split, column)[int(row)][column] or {}
        if image.get('bytes') is not None:
            return image['bytes']
        if not image.get('path'):
            raise OSError(errno.ENODATA, 'the row holds no image')
        return read_image(image['path'])


# "force" for a module that is imported again.
register_backend('hvs_mm.tar', TarBackend, prefixes='tar', force=True)
register_backend('hvs_mm.hf', HuggingFaceBackend, prefixes='hf', force=True)


class TarAddresses(Sequence):
    """Addresses of the images of an index, made when they are asked for.

    Args:
        table: The index.
        root: What the addresses are relative to, a folder of all shards with ``/`` at its end; by
            default nothing, and they begin with ``tar://``.
        positions: Which images, by default all.
    """

    def __init__(self, table: TarIndex, root: str = '', positions: Any = None) -> None:
        self.table, self.root = table, root
        self.positions = np.arange(len(table)) if positions is None else positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return TarAddresses(self.table, self.root, self.positions[number])
        position, index = self.positions[number], self.table
        shard = str(index.shards[index.shard[position]])
        start = shard.removeprefix(self.root) if self.root else f'tar://{shard}'
        # For messages only. MMEngine takes what stands before :// for the kind of the address, and
        # lists of images have one a line.
        name = ' '.join(index.name(position).replace('://', ':/').split())
        return f'{start}{INSIDE}{name}?{index.offset[position]}+{index.size[position]}'

    def read_ahead(self, numbers: np.ndarray) -> None:
        """Ask the system to read images into its page cache, those in a row at once."""
        positions, index = self.positions[numbers], self.table
        shards = index.shard[positions]
        starts = np.flatnonzero((np.diff(positions) != 1) | (np.diff(shards) != 0)) + 1
        for run in np.split(positions, starts) if len(positions) else ():
            start, end = index.offset[run[0]], index.offset[run[-1]] + index.size[run[-1]]
            # A shard that is gone is reported when an image of it is loaded.
            with suppress(OSError):
                handle = os.open(str(index.shards[index.shard[run[0]]]), os.O_RDONLY)
                try:
                    os.posix_fadvise(handle, start, end - start, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(handle)


class RowAddresses(Sequence):
    """Addresses of rows below a ``root``, in order."""

    def __init__(self, root: str, rows: range) -> None:
        self.root, self.rows = root, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return RowAddresses(self.root, self.rows[number])
        return f'{self.root}{self.rows[number]}'
