"""Find the images that a user points at: folders, a list, or shards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine import fileio

from ..datasets.loading.image_files import read_image
from ..datasets.loading.image_headers import declared_size

#: What CustomDataset of MMPretrain lists.
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
#: Names of the folders with the images to train on, and to test on.
_TRAINING, HELD_OUT = 'train', ('val', 'valid', 'validation', 'test')
#: Images whose size is read.
_SAMPLE = 256


@dataclass(frozen=True, eq=False)
class ImageSource:
    """The images of a folder or a list.

    Attributes:
        root: Absolute path of the folder that contains all images.
        paths: Paths below ``root``, sorted. The first part is the class if there are classes.
        classes: Names of the class folders; empty without labels.
        prefix: Folder below the folder that was asked for, ``'train'`` or ``''``.
        list_file: The text file that names the images, if it was one.
        held_out: Images of the same classes that are not for training, if there are any.
        sampler: Sampler that shuffles them.
        class_kind: What the classes are, for a user.
    """

    root: Path | str
    paths: Sequence[str]
    classes: tuple[str, ...] = ()
    prefix: str = ''
    list_file: Path | None = None
    held_out: ImageSource | None = None
    sampler: ClassVar[str] = 'DefaultSampler'
    class_kind: ClassVar[str] = 'class folders'

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64 number of each image's class. Without classes all are 0."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        if not numbers:
            return np.zeros(len(self), np.int64)
        return np.array([numbers[path.partition('/')[0]] for path in self.paths], np.int64)

    @cached_property
    def median_side(self) -> int:
        """The median of the shorter sides of a sample of the images, in pixels.

        Raises:
            ValueError: If no image of the sample can be read.
        """
        order = np.random.default_rng(0).permutation(len(self))[:_SAMPLE]
        sides, reason = [], None
        for path in (self.paths[number] for number in order):
            try:
                content = read_image(fileio.join_path(str(self.root), path))
                sides.append(min(declared_size(content)))
            except (OSError, ValueError) as error:
                reason = f'{path.rpartition("/")[2]}: {error}'
        if not sides:
            raise ValueError(
                f'none of {len(order)} images tried below {str(self.root)!r} can be read '
                f'({reason}): point --data at JPEG, PNG, BMP, TIFF or PNM files that an image '
                'viewer opens.'
            )
        return int(np.median(sides))

    def describe(self) -> str:
        """One line for a user."""
        text = f'{len(self):,} images, median short side {self.median_side} px'
        if self.classes:
            text += f', {len(self.classes)} {self.class_kind}'
        return text + (f', {len(self.held_out):,} held out' if self.held_out else '')

    def dataset(self) -> dict[str, Any]:
        """The config of a data set of the images, without labels and without a pipeline."""
        if self.list_file is not None:
            return dict(
                type='CustomDataset',
                data_prefix=str(self.root),
                ann_file=str(self.list_file),
                with_label=False,
            )
        root = Path(self.root).parent if self.prefix else self.root
        return dict(
            type='CustomDataset',
            data_root=str(root),
            data_prefix=self.prefix,
            with_label=False,
        )


def find_images(data: str | os.PathLike) -> ImageSource:
    """Find the images of a folder, of a text file with one path a line, or of shards.

    A folder ``train`` below ``data`` holds the images to train on, ``val`` or ``test`` next to it
    the held-out ones. If all images lie in at least two folders with at least two images each,
    these folders are the classes. Paths in a text file are relative to it. ``'x-{00..99}.tar'`` and
    ``'hf:PATH'`` are shards, see :func:`hvs_mm.recipes.shards.find_shards`.

    Raises:
        FileNotFoundError: If there is no such folder or file, or a listed image is missing.
        ValueError: If there are no images.
    """
    from .shards import find_shards, is_sharded

    if is_sharded(data):
        return find_shards(data)
    data = Path(data).expanduser().absolute()
    if data.is_file():
        return _read_list(data)
    if not data.is_dir():
        raise FileNotFoundError(
            f'--data {str(data)!r}: there is no such folder or file. Name a folder with images, or '
            'a text file with one image path a line.'
        )
    if not (data / _TRAINING).is_dir():
        return _read_folder(data, '')
    found = _read_folder(data / _TRAINING, _TRAINING)
    held_out = next((data / name for name in HELD_OUT if (data / name).is_dir()), None)
    if held_out is None or not found.classes:
        return found
    other = _read_folder(held_out, held_out.name)
    if other.classes != found.classes:
        # Other classes cannot be told apart by these images.
        return found
    return ImageSource(found.root, found.paths, found.classes, found.prefix, held_out=other)


def _read_folder(folder: Path, prefix: str) -> ImageSource:
    paths = tuple(sorted(walk_images(str(folder))))
    if not paths:
        tars = next(folder.glob('*.tar'), None)
        raise ValueError(
            f'--data: there are no images below {str(folder)!r}, no names that end in '
            f'{", ".join(EXTENSIONS)}.'
            + (f" Its tar shards are named by --data '{folder}/*.tar'." if tars else '')
        )
    return ImageSource(folder, paths, _find_classes(paths), prefix)


def walk_images(folder: str) -> Iterator[str]:
    """Paths of images below a folder, links included; a link into a folder above is left out."""
    identities = {folder: {_identity(folder)}}
    for parent, folders, names in os.walk(folder, followlinks=True):
        above = identities.pop(parent)
        for name in list(folders):
            path = os.path.join(parent, name)
            identity = _identity(path)
            if identity in above or name.startswith('.'):
                folders.remove(name)
            else:
                identities[path] = {*above, identity}
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith('.'):
                yield os.path.relpath(os.path.join(parent, name), folder)


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _find_classes(paths: tuple[str, ...]) -> tuple[str, ...]:
    names, counts = np.unique([path.partition('/')[0] for path in paths], return_counts=True)
    is_flat = any('/' not in path for path in paths)
    return () if is_flat or len(names) < 2 or counts.min() < 2 else tuple(map(str, names))


def _read_list(path: Path) -> ImageSource:
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f'--data {str(path)!r}: this is no text file ({error.reason}). Name a folder with '
            'images, or a text file with one image path a line.'
        ) from error
    if not any(lines):
        raise ValueError(f'--data {str(path)!r}: the file names no images, one path a line.')
    if '' in lines:
        # CustomDataset would take it for the folder.
        raise ValueError(f'--data {str(path)!r}: line {lines.index("") + 1} is empty, remove it.')
    paths = tuple(lines)
    missing = next((name for name in paths if not (path.parent / name).is_file()), None)
    if missing is not None:
        raise FileNotFoundError(
            f'--data {str(path)!r}: {missing!r} does not exist. Paths are relative to the folder '
            'of the list.'
        )
    return ImageSource(path.parent, paths, list_file=path)
