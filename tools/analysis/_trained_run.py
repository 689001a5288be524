"""The trained model and the training images that an analysis looks at."""

from __future__ import annotations

import argparse

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset

from hvs_mm.engine import (
    build_training_dataset,
    check_example_options,
    load_selecting_model,
    read_merged_config,
)
from hvs_mm.models import HVSAlgorithm


def load_run(args: argparse.Namespace) -> tuple[Config, HVSAlgorithm, BaseDataset]:
    """The config, the model with the weights of a checkpoint, and the training images.

    Args:
        args: The options of :func:`hvs_mm.engine.add_example_options`.

    Raises:
        FileNotFoundError: If a file or the images are not there.
        ValueError: If an option or the checkpoint does not fit.
    """
    check_example_options(args)
    cfg = read_merged_config(args.config, args.cfg_options)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    model = load_selecting_model(cfg, args.checkpoint, device, args.trust)
    return cfg, model, build_training_dataset(cfg)
