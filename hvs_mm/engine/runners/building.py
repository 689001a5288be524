"""What a config describes, built."""

from __future__ import annotations

from copy import deepcopy

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from ..checks.dataset_checks import check_datasets
from ..checks.named_files import check_named_files

_KEY = 'train_dataloader'


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config, or the class that it names instead."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def build_model(cfg: Config, trust: bool = False) -> nn.Module:
    """The model of a config with its preprocessor, as a Runner builds it.

    Args:
        cfg: The complete config. It stays as it is; upstream's models write defaults into their
            settings.
        trust: Build it even if a constructor may read a file that can run code.

    Raises:
        ValueError: If a file that the settings name is a checkpoint that cannot be read safely.
    """
    check_named_files(cfg, trust)
    settings = deepcopy(dict(cfg.model))
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', deepcopy(cfg.data_preprocessor))
    with _scope(cfg):
        return MODELS.build(settings)


def build_training_dataset(cfg: Config) -> BaseDataset:
    """Build what a run trains on.

    Args:
        cfg: The complete config.

    Raises:
        FileNotFoundError: If the images are not there.
        ValueError: If the config has no ``train_dataloader``, or the data set refuses its settings.
    """
    if not cfg.get(_KEY, {}).get('dataset'):
        raise ValueError(
            f'{cfg.filename} has no {_KEY} with a dataset: name the config of a training run.'
        )
    with _scope(cfg):
        check_datasets(cfg, [_KEY])
        try:
            return DATASETS.build(cfg[_KEY].dataset)
        except AssertionError as error:
            # What upstream's data sets raise for settings that do not fit the folder.
            raise ValueError(
                f'{_KEY}.dataset: {error} docs/datasets.md says how to give images of your own.'
            ) from error


def _scope(cfg: Config) -> DefaultScope:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain'))
