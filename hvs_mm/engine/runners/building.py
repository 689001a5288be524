"""Build the Runner, the model and the data set of a config."""

from __future__ import annotations

from copy import deepcopy

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from ..checks.dataset_checks import check_datasets
from ..checks.trust_checks import check_named_files

_KEY = 'train_dataloader'


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config: MMEngine's, or the class in ``runner_type``."""
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def build_model(cfg: Config, trust: bool = False) -> nn.Module:
    """Build the model of a config with its preprocessor, as a Runner does.

    The config stays unchanged, although upstream's models write defaults into their settings.

    Raises:
        ValueError: If the settings name a checkpoint that cannot be read safely, which a
            constructor may read; not with ``trust``.
    """
    check_named_files(cfg, trust)
    settings = deepcopy(dict(cfg.model))
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', deepcopy(cfg.data_preprocessor))
    with _scope(cfg):
        return MODELS.build(settings)


def build_training_dataset(cfg: Config) -> BaseDataset:
    """Build the training data set of a config.

    Raises:
        FileNotFoundError: If the images do not exist.
        ValueError: If the config has no such data set, or the data set rejects its settings.
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
            # Upstream's data sets assert that their settings fit the folder.
            raise ValueError(
                f'{_KEY}.dataset: {error} docs/datasets.md says how to give images of your own.'
            ) from error


def _scope(cfg: Config) -> DefaultScope:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain'))
