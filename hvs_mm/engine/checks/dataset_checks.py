"""Check the data sets of a run: their files and their classes."""

from __future__ import annotations

import inspect
import os
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset, CustomDataset
from torch import nn

from ...utils.class_name import class_name
from .coco_checks import check_categories
from .image_folders import count_files

#: What a run reads while it trains, and while it tests.
TRAINING = ('train_dataloader', 'val_dataloader')
TESTING = ('test_dataloader',)
#: Where classifiers and detectors have the layers that tell classes apart.
_HEADS = ('head', 'bbox_head', 'mask_head', 'roi_head.bbox_head', 'roi_head.mask_head')


def check_datasets(cfg: Config, loaders: Sequence[str]) -> dict[str, int]:
    """Check that the files of the configured data sets are there and can be listed.

    Args:
        cfg: The complete config.
        loaders: The data loaders whose data sets are read.

    Returns:
        The number of images of the data sets that list a folder, by their options.

    Raises:
        FileNotFoundError: If a folder or annotation file is missing.
        ValueError: If a folder has no images or cannot be listed, such as one with a link back to
            a folder in which it lies.
    """
    numbers = {}
    for key, dataset in loaded_datasets(cfg, loaders):
        for path in _dataset_paths(dataset):
            if '://' not in path and not osp.exists(path):
                download = (
                    f'Make that folder and {dataset["type"]} is downloaded into it, or give'
                    if _downloads(dataset)
                    else 'Give'
                )
                raise FileNotFoundError(
                    f'{key}: {path!r} does not exist (data_root='
                    f'{dataset.get("data_root", "")!r}). {download} the place of the images with '
                    f'--cfg-options {key}.data_root=PATH, see docs/datasets.md; "make demo" '
                    'trains without any data set.'
                )
        if not _downloads(dataset):
            number = _list_folder(_build_lazily(dataset), key)
            if number is not None:
                numbers[key] = number
    return numbers


def count_images(config: Any, key: str, listed: dict[str, int]) -> int | None:
    """The number of images that a configured data set draws in an epoch.

    Args:
        config: Its config.
        key: Its option.
        listed: What :func:`check_datasets` gave.

    Returns:
        The number; ``None`` for a wrapper that is not known, or what is still to be downloaded.
    """
    if 'datasets' in config:
        parts = [
            count_images(part, f'{key}.datasets.{i}', listed)
            for i, part in enumerate(config['datasets'])
        ]
        return None if None in parts else sum(parts)
    if 'dataset' in config:
        if class_name(config) != 'RepeatDataset':
            return None
        number = count_images(config['dataset'], f'{key}.dataset', listed)
        return None if number is None else number * config['times']
    if key not in listed:
        if _downloads(config):
            return None
        dataset = _build_lazily(config)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        return len(dataset)
    indices = config.get('indices')
    if indices is None:
        return listed[key]
    return min(listed[key], abs(indices)) if isinstance(indices, int) else len(indices)


def _list_folder(dataset: Any, key: str) -> int | None:
    """The number of images in the folder that a data set is going to list, if it lists one."""
    if not isinstance(dataset, CustomDataset) or dataset.ann_file:
        return None
    folder = dataset.img_prefix
    if not osp.isdir(folder):
        return None
    try:
        # Each folder is a class where there are labels; what lies beside them is passed by.
        number = count_files(folder, dataset.is_valid_file, only_below=dataset.with_label)
    except ValueError as error:
        raise ValueError(f'{key}: {error}') from error
    if not number:
        where = 'in class folders below' if dataset.with_label else 'below'
        raise ValueError(
            f'{key}: there are no images {where} {folder!r}, no names that end in '
            f'{sorted(dataset.extensions)}. See docs/datasets.md for the structure of the folder.'
        )
    return number


def check_classes(cfg: Config, model: nn.Module, loaders: Sequence[str]) -> None:
    """Check that the model tells as many classes apart as the data have.

    Args:
        cfg: The complete config.
        model: The model it configures. One without classes, such as a self-supervisor, passes.
        loaders: The data loaders whose data sets are read.

    Raises:
        ValueError: If a head or the mixing of labels is for another number of classes, or a
            folder does not have one subfolder per class.
    """
    heads = _num_classes(model)
    if not heads:
        return
    for key, config in loaded_datasets(cfg, loaders):
        found, is_exact = _count_classes(config, key)
        for option, number in heads.items():
            if number < found or (is_exact and number > found):
                raise ValueError(
                    f'{option}={number}, but {key} has {found} classes: set --cfg-options '
                    f'{option}={found}, or name other data.'
                )
    preprocessor = getattr(model, 'data_preprocessor', None)
    mixed = getattr(preprocessor, 'num_classes', None)
    if getattr(preprocessor, 'batch_augments', None) is not None and mixed is not None:
        for option, number in heads.items():
            if mixed != number:
                raise ValueError(
                    f'data_preprocessor.num_classes={mixed}, but {option}={number}: labels of '
                    'mixed images need the same number, set --cfg-options '
                    f'data_preprocessor.num_classes={number}.'
                )


def loaded_datasets(cfg: Config, loaders: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configs of the data sets of some loaders, with their options.

    Args:
        cfg: The complete config.
        loaders: Names of data loaders; those the config lacks are left out.
    """
    for name in loaders:
        yield from _datasets((cfg.get(name) or {}).get('dataset'), f'{name}.dataset')


def _datasets(dataset: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configs of the data sets inside wrappers such as ``RepeatDataset``."""
    if isinstance(dataset, dict):
        inner = dataset.get('dataset', dataset.get('datasets'))
        if inner is None:
            yield key, dataset
        elif isinstance(inner, dict):
            yield from _datasets(inner, f'{key}.dataset')
        else:
            for number, one in enumerate(inner):
                yield from _datasets(one, f'{key}.datasets.{number}')


def _dataset_paths(config: dict[str, Any]) -> list[str]:
    """The root, the image folder and the annotation file a data set is going to read."""
    paths = [config['data_root']] if config.get('data_root') else []
    if paths and not osp.exists(paths[0]):
        return paths
    if _downloads(config):
        # Upstream's own downloading data sets make their files themselves.
        return paths
    dataset = _build_lazily(config)
    prefixes = getattr(dataset, 'data_prefix', None) or {}
    paths += [prefix for prefix in prefixes.values() if prefix]
    if getattr(dataset, 'ann_file', ''):
        paths.append(dataset.ann_file)
    return paths


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


def _build_lazily(config: dict[str, Any]) -> Any:
    # It resolves the folders without reading them.
    return DATASETS.build({**config, 'lazy_init': True})


def _num_classes(model: nn.Module) -> dict[str, int]:
    """The number of classes of every head, by its option."""
    numbers = {}
    for path in _HEADS:
        try:
            head = model.get_submodule(path)
        except AttributeError:
            continue
        # The heads of a cascade stand in a list.
        stages = head.named_children() if isinstance(head, nn.ModuleList) else [('', head)]
        for stage, module in stages:
            if isinstance(getattr(module, 'num_classes', None), int):
                option = '.'.join(filter(None, ['model', path, stage, 'num_classes']))
                numbers[option] = module.num_classes
    return numbers


def _count_classes(config: dict[str, Any], key: str) -> tuple[int, bool]:
    """The number of classes of a data set, and whether there cannot be more of them."""
    dataset = _build_lazily(config)
    check_categories(dataset, config, key)
    named = len(getattr(dataset, 'metainfo', {}).get('classes') or ())
    if (
        isinstance(dataset, CustomDataset)
        and dataset.with_label
        and not dataset.ann_file
        and osp.isdir(dataset.img_prefix)
    ):
        folders = sum(entry.is_dir() for entry in os.scandir(dataset.img_prefix))
        if named and named != folders:
            raise ValueError(
                f'{key}: {dataset.img_prefix!r} has {folders} folders, one per class, but '
                f'{type(dataset).__name__} has {named} classes. Name yours, one a line and '
                f'sorted, in a file: --cfg-options {key}.classes=FILE.'
            )
        return folders, True
    if named:
        return named, True
    if isinstance(dataset, BaseDataset):
        # Only the labels that are there tell.
        try:
            dataset.full_init()
            return int(dataset.get_gt_labels().max()) + 1, False
        except (IndexError, ValueError) as error:
            raise ValueError(
                f'{key}: cannot read the labels of {dataset.ann_file!r}: is it empty, or does a '
                f'line lack its label? ({error})'
            ) from error
    return 0, False
