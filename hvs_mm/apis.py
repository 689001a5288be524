"""Configs of the installed package by name, and entries that its configs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine import hub
from mmengine.config import Config

from .utils.arguments import is_whole

_PREFIX = 'hvs_mm::'


def get_config(name: str) -> Config:
    """Load a config that came with the package, wherever it is installed.

    MMEngine's ``get_config``, which knows a fixed list of packages, loads those of other packages.

    Args:
        name: E.g. ``'hvs_mm::hvs_simsiam_100e.py'`` or ``'hvs_mm::demo/hvs_simsiam.py'``.

    Raises:
        FileNotFoundError: If there is no such config.

    Examples:
        >>> cfg = get_config('hvs_mm::hvs_simsiam_100e.py')
    """
    if not name.startswith(_PREFIX):
        return hub.get_config(name)
    folder = Path(__file__).parent / '.mim' / 'configs'
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder} does not exist: install the package with "pip install ." or "pip install '
            '-e .", or load the file from the checkout with Config.fromfile.'
        )
    path = folder / name[len(_PREFIX) :]
    if not path.is_file():
        known = sorted(str(p.relative_to(folder)) for p in folder.rglob('*.py'))
        similar = get_close_matches(name[len(_PREFIX) :], known, n=3)
        hint = f'did you mean {" or ".join(_PREFIX + one for one in similar)}?'
        if not similar:
            hint = f'there are {", ".join(one for one in known if "/" not in one)}, and folders.'
        raise FileNotFoundError(f'{name!r} is not among the configs of hvs_mm in {folder}: {hint}')
    return Config.fromfile(path)


def on_data_set(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config that put a recipe for image classification on a data set.

    A config file writes ``globals().update(on_data_set(_base_))``, see ``configs/benchmarks``.

    Args:
        base: The bases of the config: a recipe with ``train_pipeline`` and ``test_pipeline``, and a
            data set with ``num_classes``, ``train_set``, ``test_set`` and ``load_image``, which
            takes the place of the first step of both pipelines.
    """
    entries = {
        'model': {'head': {'num_classes': base['num_classes']}},
        'data_preprocessor': {'num_classes': base['num_classes']},
    }
    for loader, part in (('train', 'train'), ('val', 'test'), ('test', 'test')):
        pipeline = [base['load_image'], *base[f'{part}_pipeline'][1:]]
        dataset = {'_delete_': True, **base[f'{part}_set'], 'pipeline': pipeline}
        entries[f'{loader}_dataloader'] = deepcopy({'dataset': dataset})
    return entries


def high_resolution(base: Mapping[str, Any], epochs: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Return the entries of a config that train the last epochs on larger views.

    DINOv2 (`arXiv 2304.07193 <https://arxiv.org/abs/2304.07193>`_, section 5, "adapting the
    resolution") ends so. A config file writes ``globals().update(high_resolution(_base_, epochs=8,
    sizes=[518, 518, 98]))``, see ``configs/high_resolution``; MMPretrain's ``SwitchRecipeHook``
    changes the pipeline. Position embeddings are interpolated.

    Args:
        base: The bases of the config, which has view pipelines with ``RandomResizedCrop``.
        epochs: How many epochs at the end of the run.
        sizes: Side of the views, in pixels, per view pipeline.

    Raises:
        ValueError: If there are fewer epochs in the run, the sizes do not fit the view pipelines,
            or one is no multiple of the patch size of ``BlockMasks``.
    """
    max_epochs = base['train_cfg']['max_epochs']
    if not is_whole(epochs, 1, max_epochs):
        raise ValueError(
            f'epochs={epochs!r} at high resolution must be an integer from 1 to the {max_epochs} '
            'epochs of the run.'
        )
    pipeline = deepcopy(list(base['train_dataloader']['dataset']['pipeline']))
    for step in pipeline:
        views = step.get('transforms') or []
        if views and len(views) != len(sizes):
            raise ValueError(
                f'sizes={list(sizes)} must have one size for each of the {len(views)} view '
                'pipelines.'
            )
        for transforms, size in zip(views, sizes):
            for transform in transforms:
                if transform['type'] == 'RandomResizedCrop':
                    transform['scale'] = size
        patch = step.get('patch_size', 1)
        wrong = [size for size in sizes if size % patch]
        if wrong:
            raise ValueError(
                f'sizes={list(sizes)}: {wrong[0]} is no multiple of patch_size={patch}, take '
                f'{wrong[0] // patch * patch} or {(wrong[0] // patch + 1) * patch}.'
            )
    switch = {'action_epoch': max_epochs - epochs + 1, 'train_pipeline': pipeline}
    hook = {'type': 'SwitchRecipeHook', 'schedule': [switch]}
    return {'custom_hooks': [*base.get('custom_hooks', []), hook]}
