"""Build the Runner, the model, trained or not, and the data set of a config."""

from __future__ import annotations

from copy import deepcopy

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MessageHub
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from torch import nn

from ...models.hvs_algorithm import HVSAlgorithm, selecting_model
from ..checks.checkpoint_checks import load_weights
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


def load_selecting_model(
    cfg: Config, path: str, device: str = 'cpu', trust: bool = False
) -> HVSAlgorithm:
    """Build a model with hard view selection, and load all weights and the epoch of a checkpoint.

    With ``trust`` the checkpoint may hold objects that can run code.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it cannot be read, is of another model, the model selects no views, or there
            is no such device.
    """
    model = selecting_model(build_model(cfg, trust))
    checkpoint = load_weights(path, model, trust, allow_others=False)
    tell_epoch(cfg, (checkpoint.get('meta') or {}).get('epoch'))
    try:
        return model.to(device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'--device {device}: there is no such device ({error}).') from error


def tell_epoch(cfg: Config, epoch: int | None) -> None:
    """Set the epoch in MMEngine's hub, as a Runner does: DINO's temperature depends on it."""
    hub = MessageHub.get_current_instance()
    max_epochs = cfg.get('train_cfg', {}).get('max_epochs')
    if max_epochs:
        hub.update_info('max_epochs', max_epochs)
    # Without its epoch, a checkpoint counts as the last one.
    done = epoch or max_epochs
    if done:
        hub.update_info('epoch', done - 1)


def _scope(cfg: Config) -> DefaultScope:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain'))
