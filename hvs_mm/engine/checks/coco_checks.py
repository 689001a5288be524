"""Check annotations in COCO's format before a run reads them."""

from __future__ import annotations

import json
from typing import Any


def check_categories(dataset: Any, config: dict[str, Any], key: str) -> None:
    """Check that every class a config names is a category of the annotations.

    MMDetection drops the others without a word and trains on what is left. The annotations of
    configs that name no classes, such as COCO's own, are not read.

    Args:
        dataset: A data set, built lazily. One that is not in COCO's format passes.
        config: Its settings.
        key: Its option, for the message.

    Raises:
        ValueError: If the file is no COCO annotation file, or lacks a class.
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
