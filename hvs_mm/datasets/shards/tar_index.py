"""An index of tar shards, read from their headers once and kept in a file."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from glob import glob, has_magic
from pathlib import Path

import numpy as np

from ...utils.atomic_write import atomic_write
from ...utils.folder_lock import folder_lock
from .tar_members import ShardMembers, scan_shard

#: Changes with what an index holds.
_VERSION = 1
#: Shards whose headers are read at a time: on a file server most of the time is waiting.
_READERS = 8
#: Seconds after which a line says how far that is.
_TELL_AFTER = 10


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The images of M shards, N in all, as arrays: 80 MB for 1.28 million.

    Attributes:
        shards: (M,) absolute paths.
        shard: (N,) int32 number of the shard of an image.
        offset, size: (N,) int64 bytes of its content in the shard.
        label: (N,) int64 number of its class, -1 without one.
        names: UTF-8 names of all members, one after the other, uint8.
        name_end: (N,) int64 end of each name.
        damage: (M,) int64 byte from which on a shard is damaged, -1 for a whole one.
    """

    shards: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    label: np.ndarray
    names: np.ndarray
    name_end: np.ndarray
    damage: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    def damaged(self) -> tuple[list[str], int]:
        """Damaged shards, and about how many images they have lost, judged by the whole ones."""
        counts = np.bincount(self.shard, minlength=len(self.shards))
        broken = self.damage >= 0
        expected = counts[~broken].mean() if not broken.all() else counts.max() + 1
        lost = np.maximum(np.ceil(expected - counts[broken]), 1).sum()
        return self.shards[broken].tolist(), int(lost)

    def name(self, position: int) -> str:
        """Name of the member with an image."""
        start = self.name_end[position - 1] if position else 0
        return self.names[start : self.name_end[position]].tobytes().decode('utf-8')


def expand_shards(pattern: str | os.PathLike) -> list[str]:
    """List the shards of a pattern, absolute: ``{000..099}``, ``{a,b}`` and ``*`` are expanded.

    Raises:
        FileNotFoundError: If a shard is missing.
        ImportError: If the pattern has braces and braceexpand is not installed.
    """
    pattern = os.path.abspath(os.path.expanduser(pattern))
    names = [pattern]
    if '{' in pattern and not os.path.exists(pattern):
        try:
            from braceexpand import braceexpand
        except ImportError as error:
            raise ImportError(
                f'{pattern!r}: braces need the package braceexpand: pip install "hvs-mm[shards]", '
                'or use * instead.'
            ) from error
        try:
            names = list(braceexpand(pattern))
        except ValueError as error:
            raise ValueError(f'{pattern!r}: a brace is missing, expected {{000..099}}.') from error
    found: list[str] = []
    for name in names:
        found += sorted(glob(name)) if has_magic(name) and not os.path.exists(name) else [name]
    missing = [name for name in found or names if not os.path.isfile(name)]
    if missing:
        raise FileNotFoundError(
            f'{missing[0]!r} does not exist'
            + (f', nor do {len(missing) - 1} more of {len(names)} shards' if missing[1:] else '')
            + f": name the shards that are there, e.g. '{os.path.dirname(missing[0])}/*.tar'."
        )
    return found


def read_index(shards: Sequence[str]) -> TarIndex:
    """The index of some shards, from a file of an earlier call if they have not changed since.

    The file, ``.hvs-mm-index-*.npz``, lies next to the first shard, or, where that folder cannot
    be written to, in ``~/.cache/hvs-mm``. Processes that start together scan once, if their file
    system has locks. A damaged shard is a warning.

    Raises:
        OSError: If a shard cannot be opened.
        ValueError: If a shard is compressed, or none has an image.
    """
    found = _states(shards)
    with folder_lock(os.path.dirname(shards[0])):
        index = _load(shards, found)
        if index is None:
            index = _scan(shards)
            _save(index, found)
    damaged = np.flatnonzero(index.damage >= 0)
    counts = np.bincount(index.shard, minlength=len(shards))
    for number in damaged:
        warnings.warn(
            f'damaged shard: {shards[number]} cannot be read from byte {index.damage[number]} on. '
            f'Its {counts[number]} images before that are used, those behind are lost.',
            stacklevel=2,
        )
    if not len(index):
        raise ValueError(
            f'there are no images in {len(shards)} shard(s), the first is {shards[0]!r}: expected '
            'tar files with members such as 000017.jpg.'
        )
    return index


def _scan(shards: Sequence[str]) -> TarIndex:
    parts, told = [], time.monotonic()
    with ThreadPoolExecutor(_READERS) as pool:
        for path, part in zip(shards, pool.map(scan_shard, shards)):
            parts.append(part)
            if part.passed_over:
                warnings.warn(
                    f'{path}: {part.passed_over} images are left out, as each belongs to the '
                    'sample of another image: names of a sample agree up to the first dot. Rename '
                    'those that have a dot before their extension.',
                    stacklevel=3,
                )
            if time.monotonic() - told > _TELL_AFTER:
                told = time.monotonic()
                print(f'indexing shards, once: {len(parts)} of {len(shards)}', file=sys.stderr)
    return _join(shards, parts)


def _states(shards: Sequence[str]) -> np.ndarray:
    """(M, 2) int64: size and time of the last change of each shard."""
    states = [os.stat(shard) for shard in shards]
    return np.array([(state.st_size, state.st_mtime_ns) for state in states], np.int64)


def _join(shards: Sequence[str], parts: list[ShardMembers]) -> TarIndex:
    names = [name.encode('utf-8', 'backslashreplace') for part in parts for name in part.names]
    return TarIndex(
        shards=np.array(shards),
        shard=np.repeat(np.arange(len(parts), dtype=np.int32), [len(p.names) for p in parts]),
        offset=np.array([offset for part in parts for offset in part.offsets], np.int64),
        size=np.array([size for part in parts for size in part.sizes], np.int64),
        label=np.array([label for part in parts for label in part.labels], np.int64),
        names=np.frombuffer(b''.join(names), np.uint8),
        name_end=np.cumsum([len(name) for name in names], dtype=np.int64),
        damage=np.array([part.damage for part in parts], np.int64),
    )


def _places(shards: Sequence[str]) -> list[Path]:
    """Where an index may lie: first next to the shards."""
    key = hashlib.sha256('\0'.join(shards).encode('utf-8', 'surrogateescape')).hexdigest()[:12]
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'hvs-mm'
    return [folder / f'.hvs-mm-index-{key}.npz' for folder in (Path(shards[0]).parent, cache)]


def _load(shards: Sequence[str], states: np.ndarray) -> TarIndex | None:
    for path in _places(shards):
        try:
            with np.load(path, allow_pickle=False) as content:
                index = TarIndex(**{field.name: content[field.name] for field in fields(TarIndex)})
                is_same = int(content['version']) == _VERSION and np.array_equal(
                    content['states'], states
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # There is none, or it is damaged.
            continue
        if is_same and index.shards.tolist() == list(shards):
            return index
    return None


def _save(index: TarIndex, states: np.ndarray) -> None:
    arrays = {field.name: getattr(index, field.name) for field in fields(TarIndex)}
    for path in _places(index.shards.tolist()):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as unfinished, unfinished.open('wb') as file:
                np.savez(file, version=_VERSION, states=states, **arrays)
        except OSError:
            # Read-only, or full.
            continue
        return
