"""Check that the steps of the pipelines take their settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmpretrain.registry import TRANSFORMS

from ...utils.class_name import class_name
from .dataset_checks import loaded_datasets


def check_transforms(cfg: Config, loaders: Sequence[str]) -> None:
    """Build every step of the pipelines of some loaders, the inner ones first.

    Many of upstream's transforms assert their settings. A loader would do so in a worker.

    Raises:
        TypeError, ValueError: If a step rejects its settings.
    """
    for key, dataset in loaded_datasets(cfg, loaders):
        for option, step in _steps(dataset.get('pipeline') or [], f'{key}.pipeline'):
            try:
                TRANSFORMS.build(deepcopy(step))
            except AssertionError as error:
                # Upstream's have no text, or half a sentence.
                settings = {name: value for name, value in step.items() if name[0] != '_'}
                reason = str(error) or 'a value is out of range.'
                raise ValueError(
                    f'{option}: {class_name(step)} rejects {settings}: {reason}'
                ) from error


def _steps(value: Any, option: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the transforms in settings with their options, those inside of others first."""
    if isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _steps(part, f'{option}.{number}')
    elif isinstance(value, dict):
        if 'transforms' in value:
            yield from _steps(value['transforms'], f'{option}.transforms')
        # Steps are also given as objects.
        if isinstance(value.get('type'), str):
            yield option, value
