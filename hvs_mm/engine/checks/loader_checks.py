"""Check the training loader: its views, its batches, its bad images and its colors."""

from __future__ import annotations

import os
from math import ceil

from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from ...models.checks import ViewsError, check_batch_size
from ...models.hvs_algorithm import HVSAlgorithm
from ...models.photometry.device_photometry import DevicePhotometry
from ...models.selfsup.dinov2 import DINOv2
from ...utils.class_name import class_name
from .dataset_checks import count_images, loaded_datasets, pipeline_steps
from .hook_checks import build_hooks

_KEY = 'train_dataloader'
#: Environment variables in which the launchers give the number of processes.
_PROCESSES = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}


def check_loader(cfg: Config, model: nn.Module) -> None:
    """Check that the loader gives as many views as ``candidates``, in batches to train on."""
    if cfg.get(_KEY) is None:
        return
    algorithm = _checked_algorithm(model)
    if algorithm is not None and cfg.get('launcher', 'none') == 'none':
        check_batch_size(algorithm, cfg[_KEY].get('batch_size', 1))
    if not isinstance(model, HVSAlgorithm):
        return
    for option, step, _ in pipeline_steps(cfg, [_KEY], 'CandidateViews'):
        drawn = step['num_views']
        drawn = [drawn] if isinstance(drawn, int) else list(drawn)
        if sum(drawn) != sum(model.candidates):
            raise ValueError(
                f'{option}.num_views={drawn}: the loader gives {sum(drawn)} views per image, but '
                f'candidates={list(model.candidates)} needs {sum(model.candidates)}. Make them '
                'equal.'
            )


def _checked_algorithm(model: nn.Module) -> nn.Module | None:
    """The algorithm that a batch of one image may not suit; ``None`` of models of others."""
    if isinstance(model, HVSAlgorithm):
        return model.train().algorithm
    return model.train() if isinstance(model, DINOv2) else None


def check_enough_images(cfg: Config, model: BaseModel, listed: dict[str, int]) -> None:
    """Check that an epoch has a batch, and none of a single image that cannot be trained on.

    With fewer images than the batch size, ``drop_last=True`` leaves nothing to train on, and
    MMEngine would run through all epochs without a step. ``listed`` are the numbers of images from
    :func:`check_datasets`.
    """
    loader = cfg.get(_KEY)
    if not loader or loader.get('batch_sampler') or not loader.get('dataset'):
        return
    # Other samplers may never end, and so drop nothing.
    if class_name({'type': 'DefaultSampler', **(loader.get('sampler') or {})}) != 'DefaultSampler':
        return
    drop_last, algorithm = loader.get('drop_last', False), _checked_algorithm(model)
    if not drop_last and algorithm is None:
        return
    images = count_images(cfg, _KEY, listed)
    if images is None:
        return
    batch_size = loader.get('batch_size', 1)
    processes = int(os.environ.get(_PROCESSES.get(cfg.get('launcher'), ''), 1))
    # The sampler rounds up by repeating some images.
    per_process = ceil(images / processes)
    if drop_last and per_process < batch_size:
        share = f', {per_process} for each of {processes} processes,' if processes > 1 else ''
        raise ValueError(
            f'{_KEY}.batch_size={batch_size}: the {images} images of {_KEY}.dataset{share} make no '
            'batch with drop_last=True, so nothing would be trained. Set --cfg-options '
            f'{_KEY}.batch_size={per_process} or less, or {_KEY}.drop_last=False for one smaller '
            'batch.'
        )
    if algorithm is not None and not drop_last and processes == 1 and per_process % batch_size:
        try:
            check_batch_size(algorithm, per_process % batch_size)
        except ViewsError as error:
            raise ValueError(
                f'{_KEY}.batch_size={batch_size} leaves one of the {images} images of '
                f'{_KEY}.dataset for the last batch of an epoch: {error}'
            ) from error


def check_bad_images(cfg: Config) -> None:
    """Check that bad images are skipped only while training, and that the skips are reported."""
    hooks = build_hooks(cfg, 'BadImagesHook')
    loaders = _KEY, 'val_dataloader', 'test_dataloader'
    names = 'LoadCheckedImage', 'LoadChannels'
    steps = [found for name in names for found in pipeline_steps(cfg, loaders, name)]
    for option, step, dataset in steps:
        name = class_name(step)
        if step.get('bad_images', 'skip') != 'skip':
            continue
        if not option.startswith(_KEY) or dataset.get('test_mode'):
            raise ValueError(
                f"{option}: {name} with bad_images='skip' would evaluate another image "
                f'in place of a bad one. Set --cfg-options {option}.bad_images=error.'
            )
        last = class_name(dataset['pipeline'][-1])
        if last != 'PackViews':
            raise ValueError(
                f'{option}: {name} skips bad images, but {last} does not report '
                "them: pack with dict(type='PackViews'), or set --cfg-options "
                f'{option}.bad_images=error.'
            )
        if not hooks:
            raise ValueError(
                f'{option}: {name} skips bad images, but no hook reports them: add '
                '--cfg-options default_hooks.bad_images.type=BadImagesHook, or set '
                f'{option}.bad_images=error.'
            )


def check_photometry(cfg: Config, model: nn.Module) -> None:
    """Check that one of the loader and the device makes the views and their colors, not both."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    on_device = isinstance(preprocessor, DevicePhotometry)
    setting_on_device = f'data_preprocessor.type={type(preprocessor).__name__!r}'
    for key, dataset in loaded_datasets(cfg, [_KEY]):
        views = 'CandidateViews' in map(class_name, dataset.get('pipeline') or [])
        if on_device and not views:
            raise ValueError(
                f'{setting_on_device} changes the colors of candidate views on the device, but '
                f"{key}.pipeline draws none: add dict(type='CandidateViews', photometry='device', "
                "...), or set data_preprocessor.type='SelfSupDataPreprocessor'."
            )
    for option, step, _ in pipeline_steps(cfg, [_KEY], 'CandidateViews'):
        setting, value = f'{option}.photometry', step.get('photometry', 'loader')
        if on_device and value == 'loader':
            raise ValueError(
                f'{setting_on_device} changes the colors of views on the device, but '
                f'{setting}={value!r}: set --cfg-options {setting}=device, or '
                'data_preprocessor.type=SelfSupDataPreprocessor.'
            )
        if not on_device and value != 'loader':
            raise ValueError(
                f'{setting}={value!r} leaves the colors of views to the device, but '
                f'{setting_on_device} does not change them: set --cfg-options '
                f'data_preprocessor.type=DevicePhotometry, or {setting}=loader.'
            )
        collate = class_name(cfg[_KEY].get('collate_fn') or {'type': 'pseudo_collate'})
        if value == 'device_views' and collate != 'join_images':
            raise ValueError(
                f'{setting}={value!r} sends images, which {_KEY}.collate_fn.type={collate!r} '
                f'cannot put into a batch: set --cfg-options {_KEY}.collate_fn.type=join_images, '
                f'or {setting}=loader.'
            )
