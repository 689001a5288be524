"""Find the images that a user points at: folders, a list, or shards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine import fileio

from ..datasets.loading.channel_image import LoadChannels
from ..datasets.loading.channel_statistics import ChannelStatistics, channel_statistics
from ..datasets.loading.checked_image import LoadCheckedImage
from ..datasets.loading.image_files import read_image
from ..datasets.loading.image_kind import RGB, ImageHeader, ImageKind, read_header

#: What CustomDataset of MMPretrain lists, and `.tiff`.
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff')
_NOT_UPSTREAM = '.tiff'
#: Names of the folders with the images to train on, and to test on.
_TRAINING, HELD_OUT = 'train', ('val', 'valid', 'validation', 'test')
#: Images whose header is read, and images that are measured.
_SAMPLE, _MEASURED = 256, 1000


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
        channels: Channels that the user asked for; None for what the files have.
        sampler: Sampler that shuffles them.
        class_kind: What the classes are, for a user.
    """

    root: Path | str
    paths: Sequence[str]
    classes: tuple[str, ...] = ()
    prefix: str = ''
    list_file: Path | None = None
    held_out: ImageSource | None = None
    channels: int | None = None
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
        headers = self._headers.values()
        return int(np.median([min(header.width, header.height) for header in headers]))

    @cached_property
    def kind(self) -> ImageKind:
        """Channels and bits of the images, from a sample of them.

        8-bit images of one or three channels are RGB unless the user asked for another number.

        Raises:
            ValueError: If the images of the sample are not all of one kind, or do not have the
                channels that were asked for, or none can be read.
        """
        first_path, first = next(iter(self._headers.items()))
        kinds = {}
        for path, header in self._headers.items():
            try:
                kinds[path] = header.kind_for(self.channels)
            except ValueError as error:
                raise ValueError(
                    f'--channels {self.channels}: {path} {error}. Leave out --channels, or convert '
                    'the images.'
                ) from error
            if kinds[path] != kinds[first_path]:
                is_8_bit = header.kind.bits == first.kind.bits == RGB.bits
                way_out = ', or take them all as RGB by --channels 3' if is_8_bit else ''
                raise ValueError(
                    f'--data: the images are of different kinds: {first_path} has {first.kind}, '
                    f'{path} has {header.kind}. Move one kind out of {str(self.root)!r}, or '
                    f'convert it{way_out}.'
                )
        return kinds[first_path]

    @cached_property
    def statistics(self) -> ChannelStatistics:
        """Statistics of the images, or of 1,000 of them."""
        return self.measure(_MEASURED)

    def measure(self, number: int | None = None) -> ChannelStatistics:
        """Measure all pixels of the images, or of a random sample of so many.

        RGB images are measured in this order, others in the order of the file. Broken ones are left
        out.

        Raises:
            ImportError: If tifffile is needed and missing.
            ValueError: If none can be read.
        """
        is_rgb = self.kind == RGB
        loader = LoadCheckedImage() if is_rgb else LoadChannels(*self.kind)

        def images() -> Iterator[np.ndarray]:
            for path in self._sample(number):
                try:
                    image = loader.read(self._address(path))
                except (OSError, ValueError):
                    # The run reports it.
                    continue
                yield image[..., ::-1] if is_rgb else image

        return channel_statistics(images())

    @cached_property
    def _headers(self) -> dict[str, ImageHeader]:
        """The headers of a sample of the images by their paths; broken ones are left out."""
        headers, reason, sample = {}, None, self._sample(_SAMPLE)
        for path in sample:
            try:
                headers[path] = read_header(read_image(self._address(path)))
            except (OSError, ValueError) as error:
                reason = f'{path.rpartition("/")[2]}: {error}'
        if not headers:
            raise ValueError(
                f'none of {len(sample)} images tried below {str(self.root)!r} can be read '
                f'({reason}): point --data at JPEG, PNG, BMP, TIFF or PNM files that an image '
                'viewer opens.'
            )
        return headers

    def _address(self, path: str) -> str:
        return fileio.join_path(str(self.root), path)

    def _sample(self, number: int | None) -> list[str]:
        order = np.random.default_rng(0).permutation(len(self))[:number]
        return [self.paths[position] for position in order]

    def describe(self) -> str:
        """One line for a user."""
        text = f'{len(self):,} images, median short side {self.median_side} px'
        if self.kind != RGB:
            text += f', {self.kind}'
        headers, number = self._headers.values(), self.kind.channels
        if self.channels is None and any(h.has_alpha and h.kind[0] == number for h in headers):
            text += f', without alpha (--channels {number + 1} takes it as a channel)'
        if self.classes:
            text += f', {len(self.classes)} {self.class_kind}'
        return text + (f', {len(self.held_out):,} held out' if self.held_out else '')

    def describe_channels(self) -> str:
        """One line on images that are not RGB: what they are normalized with, what they lack."""
        mean, std, number = self.statistics
        share = '' if number == len(self) else f' of {len(self):,}'
        return (
            f'mean {_shown(mean)}, std {_shown(std)} (all pixels of {number:,}{share} images); no '
            'changes of hue and saturation, no grayscale, no solarization: they need 8-bit RGB'
        )

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
        # Configs of other images stay as they were.
        has_more = any(path.lower().endswith(_NOT_UPSTREAM) for path in self.paths)
        return dict(
            type='CustomDataset',
            data_root=str(root),
            data_prefix=self.prefix,
            with_label=False,
            **(dict(extensions=EXTENSIONS) if has_more else {}),
        )


def _shown(values: list[float]) -> str:
    if len(values) <= 4:
        return ' '.join(f'{value:.4g}' for value in values)
    return f'{min(values):.4g} to {max(values):.4g}'


def find_images(data: str | os.PathLike, channels: int | None = None) -> ImageSource:
    """Find the images of a folder, of a text file with one path a line, or of shards.

    A folder ``train`` below ``data`` holds the images to train on, ``val`` or ``test`` next to it
    the held-out ones. If all images lie in at least two folders with at least two images each,
    these folders are the classes. Paths in a text file are relative to it. ``'x-{00..99}.tar'`` and
    ``'hf:PATH'`` are shards, see :func:`hvs_mm.recipes.shards.find_shards`.

    Args:
        data: The folder or the text file.
        channels: Channels as which the images are taken; None for what the files have.

    Raises:
        FileNotFoundError: If there is no such folder or file, or a listed image is missing.
        ValueError: If there are no images.
    """
    from .shards import find_shards, is_sharded

    if channels is not None and channels < 1:
        raise ValueError(f'--channels {channels} must be at least 1.')
    if is_sharded(data):
        found: ImageSource = find_shards(data)
    else:
        found = _find_images(Path(data).expanduser().absolute())
    return found if channels is None else replace(found, channels=channels)


def _find_images(data: Path) -> ImageSource:
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
