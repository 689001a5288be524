"""Adapt any config of a training to other images, another length, or hard views."""

from __future__ import annotations

import re
from typing import Any

from mmengine.config import Config

from ..engine.checks.dataset_checks import loaded_datasets
from ..hardening import harden
from ..utils.class_name import class_name
from .images import ImageSource

#: Settings of DINO's and iBOT's heads, and of the selection, that count epochs.
_EPOCH_SETTINGS = ('warmup_teacher_temp_epochs', 'mask_start_epoch')


def add_hard_views(cfg: Config, views: str) -> Config:
    """Select views as ``--hard-views`` says.

    Args:
        cfg: Config of a baseline.
        views: Candidates and kept views, ``'4:2'``; per view pipeline, ``'2,2,8:1,1,8'``. For two
            view pipelines with a view each, ``'4:2'`` is ``'2,2:1,1'``.

    Raises:
        TypeError, ValueError: See :func:`hvs_mm.harden`, or if the text is none of these.
    """
    if not re.fullmatch(r'\d+(,\d+)*:\d+(,\d+)*', views):
        raise ValueError(
            f"--hard-views {views!r}: expected candidates and kept views, '4:2', or one of each "
            "per view pipeline, '2,2:1,1'."
        )
    candidates, keep = ([int(n) for n in part.split(',')] for part in views.split(':'))
    pipelines = _views_per_pipeline(cfg)
    if len(candidates) == len(keep) == 1 and pipelines == [1, 1] and keep == [2]:
        half = candidates[0] // 2
        candidates, keep = [candidates[0] - half, half], pipelines
    return harden(cfg, candidates, keep)


def _views_per_pipeline(cfg: Config) -> list[int] | None:
    """How many views the baseline draws of each of its view pipelines."""
    for _, dataset in loaded_datasets(cfg, ['train_dataloader']):
        for step in dataset.get('pipeline') or []:
            if class_name(step) in ('MultiView', 'CandidateViews'):
                counts = step['num_views']
                return list(counts) if isinstance(counts, (list, tuple)) else [counts]
    return None


def use_images(cfg: Config, images: ImageSource) -> None:
    """Let a config train on other images, in place.

    Pretraining takes them without labels. A classifier takes class folders, with its head and its
    validation; held-out images are needed for that.

    Raises:
        ValueError: If the config has no data set, or a classifier gets no classes or no held-out
            images.
    """
    loader = cfg.get('train_dataloader')
    if not (loader or {}).get('dataset'):
        raise ValueError('--data: the config has no train_dataloader with a dataset.')
    head: Any = cfg.model.get('head') or {}
    sampler: Any = loader.get('sampler') or {}
    if class_name(sampler) == 'DefaultSampler' and sampler.get('shuffle', True):
        sampler.type = images.sampler
    if 'num_classes' not in head:
        loader.dataset = _with_pipeline(images.dataset(), loader.dataset)
        _read_images(cfg, loader.dataset.pipeline)
        return
    if not images.classes or images.held_out is None:
        raise ValueError(
            f'--data {str(images.root)!r}: model.type={cfg.model.type!r} needs labels: put the '
            'images into train/CLASS/ and val/CLASS/ below a folder.'
        )
    head.num_classes = len(images.classes)
    # The five best of four classes say nothing, and upstream's Accuracy refuses them.
    for settings in (head, cfg.get('val_evaluator') or {}, cfg.get('test_evaluator') or {}):
        topk = settings.get('topk')
        if isinstance(topk, (list, tuple)):
            settings['topk'] = tuple(k for k in topk if k < len(images.classes)) or (1,)
    if cfg.get('data_preprocessor'):
        cfg.data_preprocessor.num_classes = len(images.classes)
    parts = {'train': images, 'val': images.held_out, 'test': images.held_out}
    for name, part in parts.items():
        if cfg.get(f'{name}_dataloader'):
            dataset = dict(part.dataset(), with_label=True)
            loader = cfg[f'{name}_dataloader']
            loader.dataset = _with_pipeline(dataset, loader.dataset)


def _with_pipeline(dataset: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The new data set with the pipeline of the old one, also from inside of wrappers."""
    while 'pipeline' not in old and isinstance(old.get('dataset'), dict):
        old = old['dataset']
    return dict(dataset, pipeline=old.get('pipeline') or [])


def _read_images(cfg: Config, pipeline: list[dict[str, Any]]) -> None:
    """Let a pipeline read images, if the data set before drew them, as ``ShapesDataset`` does."""
    if not any(class_name(step).startswith('Load') for step in pipeline):
        pipeline.insert(0, dict(type='LoadCheckedImage'))
        cfg.setdefault('default_hooks', {}).setdefault('bad_images', dict(type='BadImagesHook'))


def stretch_schedule(cfg: Config, epochs: int, with_warmup: bool = True) -> None:
    """Set the length of a run and stretch the schedules that end with it, in place.

    Args:
        cfg: Config that counts epochs.
        epochs: The new length.
        with_warmup: Stretch warm-ups as well, also those of the teacher's temperature and of the
            selection. Otherwise they keep their length.

    Raises:
        ValueError: If the run counts iterations, no schedule ends with it, or one would begin
            when the run is over.
    """
    old = (cfg.get('train_cfg') or {}).get('max_epochs')
    if old is None:
        raise ValueError(
            f'{cfg.filename}: train_cfg.max_epochs is missing: only a config that counts epochs, '
            "train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...), can have another length."
        )
    if epochs < 1:
        raise ValueError(f'epochs={epochs} must be at least 1.')
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    by_epoch = [one for one in schedulers if one.get('by_epoch', True)]
    # Annealing after a warm-up lasts for the epochs that are left.
    ending = [
        one
        for one in by_epoch
        if one.get('end') == old or one.get('T_max') in (old, old - one.get('begin', 0))
    ]
    if schedulers and not ending:
        raise ValueError(
            f'{cfg.filename}: train_cfg.max_epochs={old}, but no entry of param_scheduler has that '
            "as its end or T_max, so its schedule for another length is unknown: set 'end' of the "
            'one that ends with the run, or param_scheduler to None for a constant learning rate.'
        )
    for one in by_epoch if with_warmup else ending:
        _stretch(one, old, epochs, with_warmup)
        if one in ending and one.get('begin', 0) >= epochs:
            raise ValueError(
                f'{cfg.filename}: with epochs={epochs} the run is over when {class_name(one)} '
                f'begins, at epoch {one["begin"]}: train longer, or shorten the warm-up.'
            )
    for hook in cfg.get('custom_hooks') or []:
        if class_name(hook) == 'SwitchRecipeHook':
            for switch in hook.schedule:
                # The share of the run that follows it stays.
                rest = round((old + 1 - switch.action_epoch) * epochs / old)
                switch.action_epoch = epochs + 1 - max(rest, 1)
    cfg.train_cfg.max_epochs = epochs
    if with_warmup:
        _stretch_model(cfg.model, epochs / old)


def _stretch(scheduler: dict[str, Any], old: int, epochs: int, with_warmup: bool) -> None:
    begin = scheduler.get('begin', 0)
    new_begin = round(begin * epochs / old) if with_warmup else begin
    if scheduler.get('T_max') is not None:
        rest = {old: epochs, old - begin: epochs - new_begin}
        scheduler['T_max'] = rest.get(scheduler['T_max'], scheduler['T_max'])
    if 'begin' in scheduler:
        scheduler['begin'] = new_begin
    end = scheduler.get('end')
    if end == old:
        scheduler['end'] = epochs
    elif end is not None and with_warmup:
        scheduler['end'] = max(round(end * epochs / old), 1)


def _stretch_model(model: dict[str, Any], ratio: float) -> None:
    head = (model.get('algorithm') or model).get('head') or {}
    schedule = model.get('schedule') or {}
    for settings, names in ((head, _EPOCH_SETTINGS), (schedule, ('warmup',))):
        for name in names:
            if settings.get(name):
                settings[name] = round(settings[name] * ratio)
