"""Check that no image is left out without a word."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmpretrain.registry import HOOKS

from ...utils.class_name import class_name
from .dataset_checks import loaded_datasets
from .hook_checks import configured_hooks

_EVALUATED = ('val_dataloader', 'test_dataloader')


def check_bad_images(cfg: Config) -> None:
    """Check that whoever skips bad images is one who may, and is heard.

    Args:
        cfg: The complete config.

    Raises:
        TypeError: If ``BadImagesHook`` does not take an argument.
        ValueError: If it does not take its value; if an evaluation would take other images in place
            of bad ones; if bad images of the training would be skipped and nobody would tell.
    """
    hooks = [hook for hook in configured_hooks(cfg) if class_name(hook) == 'BadImagesHook']
    for hook in hooks:
        # The Runner takes the priority for itself.
        HOOKS.build({name: deepcopy(v) for name, v in hook.items() if name != 'priority'})
    for key, dataset in loaded_datasets(cfg, _EVALUATED):
        number = _skipping_step(dataset)
        if number is not None:
            raise _no_other_image(f'{key}.pipeline.{number}')
    for key, dataset in loaded_datasets(cfg, ['train_dataloader']):
        number = _skipping_step(dataset)
        if number is None:
            continue
        if dataset.get('test_mode'):
            raise _no_other_image(f'{key}.pipeline.{number}')
        last = class_name(dataset['pipeline'][-1])
        if last != 'PackViews':
            raise ValueError(
                f'{key}.pipeline: LoadCheckedImage skips bad images, but {last} does not tell of '
                "them: pack with dict(type='PackViews'), or set --cfg-options "
                f'{key}.pipeline.{number}.bad_images=error.'
            )
        if not hooks:
            raise ValueError(
                f'{key}.pipeline.{number}: LoadCheckedImage skips bad images, but nobody would '
                'hear of them: add --cfg-options default_hooks.bad_images.type=BadImagesHook, or '
                f'set {key}.pipeline.{number}.bad_images=error.'
            )


def _no_other_image(option: str) -> ValueError:
    return ValueError(
        f"{option}: LoadCheckedImage with bad_images='skip' would have another image evaluated in "
        f'place of a bad one. Set --cfg-options {option}.bad_images=error.'
    )


def _skipping_step(dataset: dict[str, Any]) -> int | None:
    """Which step of a pipeline skips bad images."""
    for number, step in enumerate(dataset.get('pipeline') or []):
        if (
            isinstance(step, dict)
            and class_name(step) == 'LoadCheckedImage'
            and step.get('bad_images', 'skip') == 'skip'
        ):
            return number
    return None
