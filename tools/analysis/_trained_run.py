"""The trained model and the training images that an analysis looks at."""

from __future__ import annotations

import argparse

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MessageHub

from hvs_mm.engine import (
    add_config_options,
    add_trust_option,
    build_model,
    build_training_dataset,
    load_weights,
    read_merged_config,
)
from hvs_mm.models.hvs_algorithm import HVSAlgorithm, selecting_model


def add_run_options(parser: argparse.ArgumentParser, images: int) -> None:
    """Add the options of a tool that lets a trained model judge views of training images."""
    parser.add_argument('config', help='config of a run with hard view selection')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        '--images', type=int, default=images, help=f'how many to draw views of, {images}'
    )
    parser.add_argument('--batch-size', type=int, help='that of the training by default')
    parser.add_argument('--seed', type=int, default=0, help='of the views, 0')
    parser.add_argument('--device', help='e.g. cpu or cuda:1; a GPU by default if there is one')
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')


def load_run(args: argparse.Namespace) -> tuple[Config, HVSAlgorithm, BaseDataset]:
    """The config, the model with the weights of a checkpoint, and the training images.

    Args:
        args: The options of :func:`add_run_options`.

    Raises:
        FileNotFoundError: If a file or the images are not there.
        ValueError: If an option or the checkpoint does not fit.
    """
    for option, value in (('--images', args.images), ('--batch-size', args.batch_size)):
        if value is not None and value < 1:
            raise ValueError(f'{option} {value}: it must be at least 1.')
    cfg = read_merged_config(args.config, args.cfg_options)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    model = load_selecting_model(cfg, args.checkpoint, device, args.trust)
    return cfg, model, build_training_dataset(cfg)


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
