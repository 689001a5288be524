"""Check that a model has as many classes as its data."""

from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmpretrain.datasets import BaseDataset, CustomDataset
from torch import nn

from .dataset_checks import build_lazily, loaded_datasets

#: Modules of classifiers and detectors that have one output per class.
_HEADS = ('head', 'bbox_head', 'mask_head', 'roi_head.bbox_head', 'roi_head.mask_head')


def check_classes(cfg: Config, model: nn.Module, loaders: Sequence[str]) -> None:
    """Check that heads and the mixing of labels have as many classes as the data of some loaders.

    A model without classes, such as a self-supervisor, passes.
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
    mixes = getattr(preprocessor, 'batch_augments', None) is not None
    mixed = getattr(preprocessor, 'num_classes', None) if mixes else None
    for option, number in heads.items():
        if mixed not in (None, number):
            raise ValueError(
                f'data_preprocessor.num_classes={mixed}, but {option}={number}: labels of '
                'mixed images need the same number, set --cfg-options '
                f'data_preprocessor.num_classes={number}.'
            )


def _num_classes(model: nn.Module) -> dict[str, int]:
    """The number of classes of every head, by its option."""
    modules = dict(model.named_modules())
    numbers = {}
    for path in _HEADS:
        head = modules.get(path)
        # The heads of a cascade are in a list.
        stages = head.named_children() if isinstance(head, nn.ModuleList) else [('', head)]
        for stage, module in stages:
            number = getattr(module, 'num_classes', None)
            if isinstance(number, int):
                option = '.'.join(filter(None, ['model', path, stage, 'num_classes']))
                numbers[option] = number
    return numbers


def _count_classes(config: dict[str, Any], key: str) -> tuple[int, bool]:
    """The number of classes of a data set, and whether it is exact rather than a lower bound."""
    dataset = build_lazily(config)
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
    if named or not isinstance(dataset, BaseDataset):
        return named, bool(named)
    try:
        # A list may lack images of some classes.
        dataset.full_init()
        return int(dataset.get_gt_labels().max()) + 1, False
    except (IndexError, ValueError) as error:
        raise ValueError(
            f'{key}: cannot read the labels of {dataset.ann_file!r}: is it empty, or does a '
            f'line lack its label? ({error})'
        ) from error


def check_categories(dataset: Any, config: dict[str, Any], key: str) -> None:
    """Check that every class of a config is a category of the COCO annotations.

    MMDetection silently drops unknown classes and trains on the rest. Annotations of configs that
    name no classes, such as COCO's own, are not read. A data set in another format passes.
    """
    classes = (config.get('metainfo') or {}).get('classes')
    if not classes or not hasattr(dataset, 'COCOAPI'):
        return
    path = dataset.ann_file
    try:
        with open(path, encoding='utf-8') as file:
            known = [category['name'] for category in json.load(file)['categories']]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{key}.ann_file: {path!r} is no annotation file in the format of COCO '
            f'({type(error).__name__}: {error}).'
        ) from error
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise ValueError(
            f'{key}.metainfo.classes={list(classes)}: {", ".join(map(repr, unknown))} is none of '
            f'the categories of {path!r}, which are {known}. Name those to detect, for '
            'faster-rcnn_r50_fpn_custom.py in the environment variable CLASSES.'
        )
