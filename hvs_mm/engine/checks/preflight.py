"""Check a run before anything of it is built or written."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..runners.building import build_model
from .checkpoint_checks import (
    check_pretrained,
    check_resume,
    check_start,
    check_weights,
    resumed_checkpoint,
)
from .class_checks import check_classes
from .dataset_checks import TESTING, TRAINING, check_datasets
from .hook_checks import check_clipping, check_selection_hooks, check_teacher
from .loader_checks import check_bad_images, check_enough_images, check_loader, check_photometry
from .schedule_checks import check_precision, check_schedule, check_selection_warmup, check_warmup
from .trust_checks import check_trust
from .work_dir import check_work_dir


def preflight(cfg: Config, trust: bool = False) -> None:
    """Check the settings of a training run, its data sets and its checkpoints.

    With ``trust`` checkpoints are read even if reading them can run code.

    Raises:
        FileNotFoundError: If a data set or checkpoint is missing.
        ImportError: If a class needs a package that is not installed.
        KeyError: If the config names a class that is not registered.
        TypeError: If a class does not take an argument.
        ValueError: If a setting, a data set, a checkpoint or the work dir does not pass one of the
            checks of this package.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_precision(cfg)
        check_work_dir(cfg)
        # The Runner builds the model again, but only after it has made the work dir.
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

    Args and errors are those of :func:`preflight`.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_work_dir(cfg)
        model = build_model(cfg, trust)
        check_trust(cfg, model, trust)
        check_datasets(cfg, TESTING)
        # Test-time augmentation wraps the model of the checkpoint.
        model = getattr(model, 'module', model)
        check_classes(cfg, model, TESTING)
        check_weights(cfg.load_from, model, trust)
