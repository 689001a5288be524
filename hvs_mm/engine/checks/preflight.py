"""Check a run before anything of it is built or written."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..runners.building import build_model
from .channel_checks import check_channels
from .checkpoint_checks import (
    check_pretrained,
    check_resume,
    check_start,
    load_weights,
    resumed_checkpoint,
)
from .class_checks import check_classes
from .dataset_checks import TESTING, TRAINING, check_datasets
from .hook_checks import check_clipping, check_selection_hooks, check_teacher
from .loader_checks import check_bad_images, check_enough_images, check_loader, check_photometry
from .record_checks import check_records
from .schedule_checks import (
    check_hardness,
    check_optimizer,
    check_precision,
    check_schedule,
    check_selection_warmup,
    check_warmup,
)
from .sharding_checks import check_sharding
from .transform_checks import check_transforms
from .trust_checks import check_trust
from .work_dir_checks import check_not_in_use, check_unused, check_work_dir


def preflight(
    cfg: Config, trust: bool = False, *, overwrite: bool = False, allow_changes: bool = False
) -> None:
    """Check the settings of a training run, its data sets, its checkpoints and its work dir.

    With ``trust`` checkpoints are read even if reading them can run code. With ``overwrite`` the
    work dir may hold another run; with ``allow_changes`` a run may resume with other settings.

    Raises:
        FileNotFoundError: If a data set or checkpoint is missing.
        ImportError, KeyError, TypeError: If a class cannot be imported, is not registered, or does
            not take an argument.
        ValueError: If a setting, a data set, a checkpoint or the work dir does not pass a check.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_precision(cfg)
        check_work_dir(cfg)
        if not overwrite:
            check_unused(cfg)
        check_not_in_use(cfg)
        # The Runner builds the model again, but only after it has made the work dir.
        model = build_model(cfg, trust)
        check_trust(cfg, model, trust)
        if resumed_checkpoint(cfg) is None:
            check_pretrained(model)
        check_transforms(cfg, TRAINING)
        listed = check_datasets(cfg, TRAINING)
        check_classes(cfg, model, TRAINING)
        check_bad_images(cfg)
        check_channels(cfg, model)
        check_loader(cfg, model)
        check_enough_images(cfg, model, listed)
        check_photometry(cfg, model)
        check_records(cfg, model)
        check_warmup(cfg, model)
        check_selection_warmup(cfg, model)
        check_teacher(cfg, model)
        check_selection_hooks(cfg, model)
        check_clipping(cfg)
        check_sharding(cfg, model)
        check_optimizer(cfg)
        check_schedule(cfg)
        check_hardness(cfg, model)
        check_resume(cfg, model, trust, allow_changes)
        check_start(cfg, model, trust)


def preflight_test(cfg: Config, trust: bool = False) -> None:
    """As :func:`preflight` for an evaluation, its data set and its checkpoint, ``load_from``."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        check_work_dir(cfg)
        model = build_model(cfg, trust)
        check_trust(cfg, model, trust)
        check_datasets(cfg, TESTING)
        # Test-time augmentation wraps the model of the checkpoint.
        model = getattr(model, 'module', model)
        check_classes(cfg, model, TESTING)
        if '://' not in cfg.load_from:
            load_weights(cfg.load_from, model, trust)
