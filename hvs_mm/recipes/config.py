"""The config of a recipe: that of its method's baseline, changed where the recipe says so."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict

from ..apis import get_config
from ..datasets.loading.image_kind import RGB
from ..hardening import harden, runtime_settings
from .images import ImageSource
from .pipelines import evaluation_pipeline, fit_view, loading_step
from .recipe import (
    BACKBONE_RATE,
    HEAD_WARMUP,
    KNN_DROP,
    LAYER_DECAY,
    METHODS,
    VIT_FIRST,
    VIT_ONLY,
    Recipe,
)

#: Images of a k-NN evaluation during a run, bank and queries, with a GPU and without.
_KNN_IMAGES = {True: (20000, 5000), False: (2000, 500)}
#: Keys in the published queue of MoCo.
MOCO_QUEUE = 65536
#: Images in the published queue of SwAV.
SWAV_QUEUE = 3840
#: Methods that draw their two large crops alike.
_ONE_PIPELINE = ('simsiam', 'simclr', 'moco', 'densecl', 'swav')
#: Entries of a config that MMEngine's Runner or this package reads; the rest are helpers of files.
_ENTRIES = (
    'auto_scale_lr', 'custom_hooks', 'custom_imports', 'data_preprocessor', 'default_hooks',
    'default_scope', 'env_cfg', 'find_unused_parameters', 'knn_pipeline', 'load_from', 'log_level',
    'log_processor', 'model', 'optim_wrapper', 'param_scheduler', 'randomness', 'resume',
    'runner_type', 'train_cfg', 'train_dataloader', 'vis_backends', 'visualizer',
)  # fmt: skip


def recipe_config(recipe: Recipe, images: ImageSource, folder: Path) -> Config:
    """Build the complete config of a run.

    Args:
        recipe: Its settings.
        images: What it trains on. With classes, their k-NN accuracy is measured ten times.
        folder: Folder of the run. The lists of images of the k-NN evaluation are written there by
            :func:`write_knn_lists`.
    """
    base = get_config(METHODS[recipe.method])
    cfg = Config({key: _without_scope(base[key]) for key in _ENTRIES if key in base})
    cfg.model = _model(cfg.model, recipe)
    cfg.train_dataloader = _loader(cfg.train_dataloader, recipe, images)
    cfg.optim_wrapper = _optimizer(cfg.optim_wrapper, recipe)
    cfg.param_scheduler = _schedule(recipe)
    cfg.train_cfg = dict(type='ResumableEpochLoop', max_epochs=recipe.epochs)
    if recipe.limited:
        cfg.train_cfg.max_iters = recipe.steps
    cfg.custom_hooks = _hooks(recipe)
    if recipe.init is not None:
        frozen = dict(freeze=r'(^|\.)backbone\.', freeze_share=HEAD_WARMUP)
        cfg.custom_hooks.append(dict(type='GradientHook', **frozen))
    cfg.knn_pipeline = evaluation_pipeline(recipe.image_size, recipe.kind)
    if recipe.kind != RGB:
        mean, std, _ = images.statistics
        cfg.data_preprocessor = dict(type='ChannelPreprocessor', mean=mean, std=std)
    if images.classes:
        cfg.custom_hooks.append(_knn_hook(recipe, images, folder))
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, max_keep_ckpts=2)
    cfg.default_hooks.finite_step = dict(type='FiniteStepHook')
    cfg.default_hooks.bad_images = dict(type='BadImagesHook')
    cfg.default_hooks.health = dict(type='HealthHook')
    cfg.randomness = dict(seed=0)
    cfg.auto_scale_lr = dict(base_batch_size=recipe.batch_size)
    cfg.merge_from_dict(runtime_settings(cfg))
    if recipe.hard_views:
        cfg = harden(cfg, *_groups(recipe))
    if recipe.init is not None:
        model = cfg.model.algorithm if recipe.hard_views else cfg.model
        trust = dict(trust=True) if recipe.trust else {}
        model.backbone.init_cfg = dict(type='PretrainedBackbone', checkpoint=recipe.init, **trust)
    cfg.recipe = dict(method=recipe.method, model=recipe.model, image_size=recipe.image_size)
    return cfg


def _without_scope(settings: Any) -> Any:
    """A copy without the scopes that ``mmpretrain::`` leaves; the default scope is that one."""
    if isinstance(settings, dict):
        items = settings.items()
        return {name: _without_scope(value) for name, value in items if name != '_scope_'}
    if isinstance(settings, (list, tuple)):
        return type(settings)(_without_scope(value) for value in settings)
    return settings


def knn_split(
    images: ImageSource, limits: tuple[int, int] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose images of known class and images to classify.

    Held-out images are the queries. Without them a fifth of the images is: the run trains on
    these, too, but on no label.

    Args:
        images: Images in class folders.
        limits: Most images of the bank and most queries; by default what is fast enough to repeat
            during a training.

    Returns:
        The bank and the queries, each with ``root``, ``paths`` and ``labels``.
    """
    bank_limit, query_limit = limits or _KNN_IMAGES[torch.cuda.is_available()]
    order = np.random.default_rng(0).permutation(len(images))
    if images.held_out is not None:
        others = np.random.default_rng(0).permutation(len(images.held_out))
        parts = ((images, order[:bank_limit]), (images.held_out, others[:query_limit]))
    else:
        number = min(len(images) // 5, query_limit)
        parts = ((images, order[number : number + bank_limit]), (images, order[:number]))
    bank, queries = (
        dict(
            root=source.root,
            paths=[source.paths[number] for number in np.sort(chosen)],
            labels=source.labels[np.sort(chosen)],
        )
        for source, chosen in parts
    )
    return bank, queries


def write_knn_lists(images: ImageSource, folder: Path) -> None:
    """Write the images of :func:`knn_split`, a path and a class a line, into a run's folder."""
    for name, part in zip(('bank', 'queries'), knn_split(images)):
        lines = [f'{path} {label}\n' for path, label in zip(part['paths'], part['labels'])]
        _knn_list(folder, name).write_text(''.join(lines), encoding='utf-8')


def _knn_list(folder: Path, name: str) -> Path:
    return folder.absolute() / f'knn_{name}.txt'


def _groups(recipe: Recipe) -> tuple[list[int], list[int]]:
    """Candidates and kept views per view pipeline."""
    kept = _num_views(recipe)
    # Of local crops no more are drawn than kept: docs/results.md has the reason.
    if kept[0] == 2:
        return [recipe.views, *kept[1:]], kept
    large = [recipe.views - recipe.views // 2, recipe.views // 2]
    return [*large, *kept[2:]], kept


def _num_views(recipe: Recipe) -> list[int]:
    large = [2] if recipe.method in _ONE_PIPELINE else [1, 1]
    return [*large, recipe.local_crops] if recipe.local_crops else large


def _model(model: ConfigDict, recipe: Recipe) -> ConfigDict:
    network, model = recipe.network, deepcopy(model)
    on_gpus = recipe.devices > 1 and torch.cuda.is_available()
    backbone = network.config(recipe.image_size, sync_bn=on_gpus)
    if recipe.method in VIT_ONLY:
        backbone.pop('out_type')
        backbone['type'] = network.settings.get('type', model.backbone.type)
    if recipe.method == 'dinov2':
        # With the baseline's layer scale, kind of stochastic depth and initial weights. Its rate
        # is that of a ViT-L.
        same = ('arch', 'img_size', 'patch_size', 'drop_path_rate', *network.settings)
        backbone = {**model.backbone, **{key: backbone[key] for key in same}}
    elif 'out_type' in backbone and 'type' in network.settings:
        # A transformer of DINOv2 or DINOv3.
        del backbone['out_type']
        backbone['cls_only'] = True
    if recipe.kind.channels != RGB.channels:
        backbone['in_channels'] = recipe.kind.channels
    model.backbone = backbone
    model.neck.in_channels = network.channels
    if recipe.method in VIT_FIRST:
        _set_prototypes(model, recipe)
        return model
    if recipe.method != 'densecl':
        model.neck.with_avg_pool = not network.is_vit
    if recipe.method == 'simclr':
        model.neck.hid_channels = network.channels
        model.head.temperature = 0.5 if recipe.is_small else 0.1
    if recipe.method in ('byol', 'mocov3'):
        model.base_momentum = recipe.momentum
    if recipe.method == 'mocov3' and network.is_vit:
        # As published for transformers; upstream's base is a ResNet's.
        model.head.temperature, model.head.loss.loss_weight = 0.2, 0.4
    if recipe.method in ('moco', 'densecl'):
        model.neck.hid_channels = network.channels
        model.momentum = recipe.momentum
        # At most one key per image, in whole batches.
        batches = min(recipe.steps_per_epoch, MOCO_QUEUE // recipe.batch_size)
        model.queue_len = recipe.batch_size * max(batches, 1)
    if recipe.method in ('barlowtwins', 'vicreg'):
        # The published 8192 of a ResNet-50.
        model.neck.hid_channels = model.neck.out_channels = 4 * network.channels
    if recipe.method == 'barlowtwins':
        model.head.in_channels = model.neck.out_channels
    if recipe.method == 'swav':
        model.neck.hid_channels = network.channels
        model.head.loss.update(num_crops=_num_views(recipe), num_prototypes=recipe.prototypes)
    return model


def _set_prototypes(model: ConfigDict, recipe: Recipe) -> None:
    """Set neck and head of DINO, iBOT or DINOv2."""
    model.neck.out_channels = model.head.out_channels = recipe.prototypes
    model.head.num_crops = sum(_num_views(recipe))
    # The published schedule of a long run: 0.04 at first, then higher.
    is_long = recipe.epochs >= 100
    names = ('', 'patch_') if recipe.method in VIT_ONLY else ('',)
    for name in names:
        model.head[f'{name}teacher_temp'] = 0.07 if is_long else 0.04
        model.head[f'warmup_{name}teacher_temp'] = 0.04
    model.head.warmup_teacher_temp_epochs = recipe.epochs // 10 if is_long else 0


def _loader(loader: ConfigDict, recipe: Recipe, images: ImageSource) -> dict[str, Any]:
    pipeline = loader.dataset.pipeline
    views = next(step for step in pipeline if step.type == 'MultiView')
    views = dict(
        type='CandidateViews',
        num_views=_num_views(recipe),
        transforms=[fit_view(view, recipe) for view in views.transforms],
    )
    masks = [dict(step) for step in pipeline if step.type == 'BlockMasks']
    for step in masks:
        step['patch_size'] = recipe.network.patch_size(recipe.image_size)
    steps = [loading_step(recipe.kind), views, *masks, dict(type='PackViews')]
    return dict(
        batch_size=recipe.batch_size // recipe.devices,
        num_workers=recipe.num_workers,
        persistent_workers=True,
        drop_last=True,
        sampler=dict(type=images.sampler, shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(images.dataset(), pipeline=steps),
    )


def _optimizer(wrapper: ConfigDict, recipe: Recipe) -> dict[str, Any]:
    settings = dict(type=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimizer != 'AdamW':
        settings['momentum'] = 0.9
    published = wrapper
    wrapper = dict(type='OptimWrapper', optimizer=settings)
    if recipe.method == 'simsiam':
        wrapper['paramwise_cfg'] = dict(custom_keys={'predictor': dict(fix_lr=True)})
    elif recipe.optimizer == 'LARS':
        excluded = dict(decay_mult=0, lars_exclude=True)
        names = ('bn', 'bias', 'downsample.1')
        wrapper['paramwise_cfg'] = dict(custom_keys={name: dict(excluded) for name in names})
    elif recipe.optimizer == 'AdamW':
        wrapper['paramwise_cfg'] = dict(
            bias_decay_mult=0.0, norm_decay_mult=0.0, flat_decay_mult=0.0
        )
    if recipe.method == 'dinov2':
        # Rates that fall towards the first layer.
        wrapper['constructor'] = published.constructor
        wrapper['paramwise_cfg'] = published.paramwise_cfg
    if recipe.init is not None:
        wrapper['constructor'] = 'LayerDecayConstructor'
        wrapper.setdefault('paramwise_cfg', {}).update(
            layer_decay_rate=LAYER_DECAY if recipe.network.is_vit else 1.0,
            backbone_lr_mult=BACKBONE_RATE,
        )
    if recipe.amp:
        wrapper['type'] = 'AmpOptimWrapper' if torch.cuda.is_available() else 'AutocastOptimWrapper'
        if wrapper['type'] == 'AmpOptimWrapper':
            wrapper.update(
                dict(dtype='bfloat16')
                if torch.cuda.is_bf16_supported()
                else dict(loss_scale='dynamic')
            )
    return wrapper


def _schedule(recipe: Recipe) -> list[dict[str, Any]]:
    """Linear warm-up, then a cosine; by step, so that a run may have any length."""
    warmup, steps = recipe.warmup, recipe.steps
    schedules = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=warmup, end=steps)]
    if warmup:
        schedules.insert(0, dict(type='LinearLR', start_factor=1e-4, begin=0, end=warmup))
    if recipe.method in VIT_FIRST and recipe.optimizer == 'AdamW':
        schedules.append(dict(type='CosineWeightDecay', eta_min=0.4, begin=0, end=steps))
    return [dict(schedule, by_epoch=False) for schedule in schedules]


def _hooks(recipe: Recipe) -> list[dict[str, Any]]:
    if recipe.method == 'simsiam':
        return [
            dict(
                type='SimSiamHook',
                priority='HIGH',
                fix_pred_lr=True,
                lr=recipe.lr,
                adjust_by_epoch=False,
            )
        ]
    if recipe.method == 'swav':
        batch, steps = recipe.batch_size, recipe.steps_per_epoch
        return [
            dict(
                type='SwAVHook',
                priority='VERY_HIGH',
                batch_size=batch // recipe.devices,
                # Published: from the 16th of 200 epochs on.
                epoch_queue_starts=max(15 * recipe.epochs // 200, 1),
                crops_for_assign=[0, 1],
                feat_dim=128,
                queue_length=batch * min(SWAV_QUEUE // batch, steps),
                # In the first epoch, where there are enough of them.
                frozen_layers_cfg=dict(prototypes=steps) if recipe.epochs >= 10 else {},
            )
        ]
    if recipe.method in VIT_FIRST:
        by = 'part' if recipe.method == 'dinov2' else 'tensor'
        return [
            dict(type='TeacherHook', momentum=recipe.momentum),
            dict(type='GradientHook', clip=3.0, by=by, freeze_epochs=int(recipe.epochs >= 10)),
        ]
    return []


def _knn_hook(recipe: Recipe, images: ImageSource, folder: Path) -> dict[str, Any]:
    parts = knn_split(images)
    datasets = [
        dict(
            type='CustomDataset',
            data_prefix=str(part['root']),
            ann_file=str(_knn_list(folder, name)),
            metainfo=dict(classes=list(images.classes)),
        )
        for name, part in zip(('bank', 'queries'), parts)
    ]
    return dict(
        type='KNNHook',
        interval=max(recipe.epochs // 10, 1),
        at_start=True,
        k=[min(20, len(parts[0]['paths']))],
        bank=datasets[0],
        queries=datasets[1],
        **({} if recipe.init is None else dict(warn_drop=KNN_DROP)),
    )
