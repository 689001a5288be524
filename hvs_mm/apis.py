"""Configs of the installed package by name, and entries that its configs share."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine import hub
from mmengine.config import Config

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
