"""Checks of a run before anything of it is built or written."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from ...models.checks import check_batch_size
from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.class_name import class_name
from ..runners.building import build_model
from ..runners.checkpoint_trust import check_trust
from .bad_images_checks import check_bad_images
from .batch_checks import check_enough_images
from .checkpoint_checks import (
    check_pretrained,
    check_resume,
    check_start,
    check_weights,
    resumed_checkpoint,
)
from .dataset_checks import TESTING, TRAINING, check_classes, check_datasets, loaded_datasets
from .hook_checks import check_selection_hooks
from .photometry_checks import check_photometry
from .schedule_checks import (
    check_clipping,
    check_precision,
    check_schedule,
    check_selection_warmup,
    check_teacher,
    check_warmup,
)
from .work_dir import check_work_dir


def preflight(cfg: Config, trust: bool = False) -> None:
    """Check the settings of a training run, its data sets and its checkpoints.

    Args:
        cfg: The complete config.
        trust: Take checkpoints even if reading them can run code.

    Raises:
        FileNotFoundError: If a data set or checkpoint is missing.
        ImportError: If a class needs a package that is not installed.
        KeyError: If the config names a class that is not registered.
        TypeError: If a class does not take an argument.
        ValueError: If a class does not take the value of an argument, the backbone to start from
            or the checkpoint to resume from is of another model, the number of classes is not
            that of the data, the loader and the preprocessor do not agree on who changes the
            colors of views, a folder cannot be listed, or its images make no batch, bad ones
            would be left out without a word, reading a checkpoint could run code, or the work dir
            cannot be written to.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_precision(cfg)
        check_work_dir(cfg)
        # The Runner builds it again, but only after it has made the work dir.
        model = build_model(cfg, trust)
        check_trust(cfg, model, trust)
        if resumed_checkpoint(cfg) is None:
            check_pretrained(model)
        listed = check_datasets(cfg, TRAINING)
        check_classes(cfg, model, TRAINING)
        check_bad_images(cfg)
        check_loader(cfg, model)
        check_enough_images(cfg, model, listed)
        check_photometry(cfg, model)
        check_warmup(cfg, model)
        check_selection_warmup(cfg, model)
        check_teacher(cfg, model)
        check_selection_hooks(cfg, model)
        check_clipping(cfg)
        check_schedule(cfg)
        check_resume(cfg, model, trust)
        check_start(cfg, model, trust)


def preflight_test(cfg: Config, trust: bool = False) -> None:
    """Check the settings of an evaluation, its data set and its checkpoint, ``load_from``.

    Args:
        cfg: The complete config.
        trust: Take the checkpoint even if reading it can run code.

    Raises:
        FileNotFoundError: If the data set or the checkpoint is missing.
        KeyError: If the config names a class that is not registered.
        TypeError: If a class does not take an argument.
        ValueError: If a class does not take the value of an argument, or the checkpoint is of
            another model, reading it could run code, the number of classes is not that of the
            data, or the work dir cannot be written to.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_work_dir(cfg)
        model = build_model(cfg, trust)
        check_trust(cfg, model, trust)
        check_datasets(cfg, TESTING)
        # One that augments at test time is wrapped around the model of the checkpoint.
        model = getattr(model, 'module', model)
        check_classes(cfg, model, TESTING)
        check_weights(cfg.load_from, model, trust)


def check_loader(cfg: Config, model: nn.Module) -> None:
    """Check that the loader gives the views that an HVS model needs, in batches it can train on.

    Raises:
        ValueError: If ``CandidateViews`` draws another number of views than ``candidates``, or
            BatchNorm would have to normalize a single sample.
    """
    if not isinstance(model, HVSAlgorithm) or cfg.get('train_dataloader') is None:
        return
    for key, dataset in loaded_datasets(cfg, ['train_dataloader']):
        for number, step in enumerate(dataset.get('pipeline') or []):
            if isinstance(step, dict) and class_name(step) == 'CandidateViews':
                drawn = step['num_views']
                drawn = [drawn] if isinstance(drawn, int) else list(drawn)
                if sum(drawn) != sum(model.candidates):
                    raise ValueError(
                        f'{key}.pipeline.{number}.num_views={drawn}: the loader gives '
                        f'{sum(drawn)} views per image, but candidates={list(model.candidates)} '
                        f'needs {sum(model.candidates)}. Make them equal.'
                    )
    if cfg.get('launcher', 'none') == 'none':
        check_batch_size(model.train().algorithm, cfg.train_dataloader.get('batch_size', 1))
