"""Check the data sets of a run: their files and the number of their images."""

from __future__ import annotations

import inspect
import os
import os.path as osp
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmpretrain.datasets import CustomDataset

from ...utils.class_name import class_name

#: Loaders that a run reads while it trains, and while it tests.
TRAINING = ('train_dataloader', 'val_dataloader')
TESTING = ('test_dataloader',)


def check_datasets(cfg: Config, loaders: Sequence[str]) -> dict[str, int]:
    """Check that the files of the configured data sets exist and can be listed.

    Returns:
        The number of images of each data set that lists a folder, by the data set's option.

    Raises:
        FileNotFoundError: If a folder or annotation file is missing.
        ValueError: If a folder has no images or cannot be listed, or an annotation file cannot be
            read whole.
    """
    numbers = {}
    for key, config in loaded_datasets(cfg, loaders):
        downloads = _downloads(config)
        for path in _dataset_paths(config, downloads):
            if '://' not in path and not osp.exists(path):
                download = f'Make that folder and {config["type"]} is downloaded into it, or give'
                raise FileNotFoundError(
                    f'{key}: {path!r} does not exist (data_root={config.get("data_root", "")!r}). '
                    f'{download if downloads else "Give"} the place of the images with '
                    f'--cfg-options {key}.data_root=PATH, see docs/datasets.md; "make demo" '
                    'trains without any data set.'
                )
            if osp.exists(path):
                _check_whole(path, key)
        if not downloads and (number := _list_folder(build_lazily(config), key)) is not None:
            numbers[key] = number
    return numbers


def _check_whole(path: str, key: str) -> None:
    """Check that a file has an end and fits into memory; data sets read their files whole."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        return
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if not stat.S_ISREG(status.st_mode):
        reason = 'a pipe, socket or device'
    elif status.st_size > memory:
        reason = f"{status.st_size} bytes, more than the {memory} of this machine's memory"
    else:
        return
    raise ValueError(
        f'{key}: {path!r} is {reason}, and would be read whole: give the file that lists the '
        f'images with --cfg-options {key}.ann_file=PATH.'
    )


def count_images(cfg: Config, loader: str, listed: dict[str, int]) -> int | None:
    """Count the images that the data set of a loader draws in an epoch.

    ``listed`` are the numbers from :func:`check_datasets`. The number is ``None`` for an unknown
    wrapper or a data set that is not downloaded yet.
    """
    total = 0
    for key, config, times in _unwrapped(cfg[loader].dataset, f'{loader}.dataset'):
        if times is None or (key not in listed and _downloads(config)):
            return None
        if key in listed:
            number, indices = listed[key], config.get('indices')
            if indices is not None:
                number = min(number, abs(indices)) if isinstance(indices, int) else len(indices)
        else:
            dataset = build_lazily(config)
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
            number = len(dataset)
        total += times * number
    return total


def loaded_datasets(cfg: Config, loaders: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the options and configs of the data sets, inside wrappers, of the loaders there are."""
    for name in loaders:
        for key, config, _ in _unwrapped((cfg.get(name) or {}).get('dataset'), f'{name}.dataset'):
            yield key, config


def _unwrapped(
    config: Any, key: str, times: int | None = 1
) -> Iterator[tuple[str, dict[str, Any], int | None]]:
    """Yield data sets, and how often their wrappers repeat them; None if that is unknown."""
    if not isinstance(config, dict):
        return
    if 'dataset' not in config and 'datasets' not in config:
        yield key, config, times
    for number, part in enumerate(config.get('datasets') or ()):
        yield from _unwrapped(part, f'{key}.datasets.{number}', times)
    repeats = times is not None and class_name(config) == 'RepeatDataset'
    inner = times * config.get('times', 1) if repeats else None
    yield from _unwrapped(config.get('dataset'), f'{key}.dataset', inner)


def pipeline_steps(
    cfg: Config, loaders: Sequence[str], name: str
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the option and config of each step of a class, and the config of its data set."""
    for key, dataset in loaded_datasets(cfg, loaders):
        for number, step in enumerate(dataset.get('pipeline') or []):
            if isinstance(step, dict) and class_name(step) == name:
                yield f'{key}.pipeline.{number}', step, dataset


def build_lazily(config: dict[str, Any]) -> Any:
    """Build a data set that resolves its paths but reads no file."""
    return DATASETS.build({**config, 'lazy_init': True})


def _dataset_paths(config: dict[str, Any], downloads: bool) -> list[str]:
    """The root, the image folders and the annotation file that a data set is going to read."""
    paths = [config['data_root']] if config.get('data_root') else []
    # Data sets that download their files also make the folders below the root.
    if downloads or (paths and not osp.exists(paths[0])):
        return paths
    dataset = build_lazily(config)
    paths += [prefix for prefix in (getattr(dataset, 'data_prefix', None) or {}).values() if prefix]
    return [*paths, dataset.ann_file] if getattr(dataset, 'ann_file', '') else paths


def _downloads(config: dict[str, Any]) -> bool:
    cls = config['type']
    if isinstance(cls, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            cls = registry.get(cls)
    return (
        cls is not None
        and config.get('download', True)
        and 'download' in inspect.signature(cls).parameters
    )


def _list_folder(dataset: Any, key: str) -> int | None:
    """Count the images in the folder that a data set is going to list, if it lists one."""
    if not isinstance(dataset, CustomDataset) or dataset.ann_file:
        return None
    folder, with_label = dataset.img_prefix, dataset.with_label
    if not osp.isdir(folder):
        return None
    try:
        # With labels each folder is a class, and files next to these folders are ignored.
        number = _count_files(folder, dataset, {}, only_below=with_label)
    except ValueError as error:
        raise ValueError(f'{key}: {error}') from error
    if not number:
        raise ValueError(
            f'{key}: there are no images {"in class folders " if with_label else ""}below '
            f'{folder!r}, no names that end in {sorted(dataset.extensions)}. See docs/datasets.md '
            'for the structure of the folder.'
        )
    return number


def _count_files(
    folder: str, dataset: Any, parents: dict[tuple[int, int], str], only_below: bool = False
) -> int:
    """Count the images below a folder as ``CustomDataset`` lists them, links included.

    ``parents`` are the folders around this one, by device and inode. A link back into one of them
    raises a ``ValueError``: upstream would list until the system's "Too many levels of symbolic
    links".
    """
    try:
        status = os.stat(folder)
        entries = [(entry, entry.is_dir()) for entry in os.scandir(folder)]
    except OSError as error:
        reason = f'the images in this folder cannot be listed ({error.strerror}). Make it readable'
        reason = f'{folder!r}: {reason}'
        if error.filename != folder:
            reason = f'{error.filename!r} leads nowhere ({error.strerror}). Remove it'
        raise ValueError(f'{reason}, or name the images in a file: ann_file.') from error
    identity = status.st_dev, status.st_ino
    if identity in parents:
        raise ValueError(
            f'{_last_link(folder)} leads back to {parents[identity]!r}, in which it lies: the '
            'images below would be listed over and over. Remove that link, or name the images in '
            'a file: ann_file.'
        )
    parents = {**parents, identity: folder}
    number = 0
    for entry, is_folder in entries:
        if is_folder:
            number += _count_files(entry.path, dataset, parents)
        elif not only_below and not entry.name.startswith('.'):
            # A link to a missing file is no file.
            number += dataset.is_valid_file(entry.name) and entry.is_file()
    return number


def _last_link(folder: str) -> str:
    """Describe the link by which a path leads elsewhere, not the folder behind it."""
    for path in (Path(folder), *Path(folder).parents):
        if path.is_symlink():
            return f'the link {str(path)!r} to {os.readlink(path)!r}'
    return repr(folder)
