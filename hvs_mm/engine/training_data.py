"""The images of a run, for tools that look at them without training."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from .dataset_checks import check_datasets

_KEY = 'train_dataloader'


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
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_datasets(cfg, [_KEY])
        try:
            return DATASETS.build(cfg[_KEY].dataset)
        except AssertionError as error:
            # What upstream's data sets raise for settings that do not fit the folder.
            raise ValueError(
                f'{_KEY}.dataset: {error} docs/datasets.md says how to give images of your own.'
            ) from error
