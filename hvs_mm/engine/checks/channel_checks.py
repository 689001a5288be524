"""Check that a run fits images that are not 8-bit RGB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.datasets.transforms.auto_augment import BaseAugTransform
from mmpretrain.registry import TRANSFORMS

from ...utils.class_name import class_name
from ...weights.input_channels import first_convolution
from .dataset_checks import build_lazily, pipeline_steps

_KEY = 'train_dataloader'
#: Images that are measured, and how far their mean may be from the configured one, in configured
#: standard deviations: that of ImageNet's 8 bits is further away from a tenth of 16 bits.
_SAMPLE, _FAR = 16, 5.0
_MEASURE = 'measure them with tools/analysis/channel_statistics.py'


def check_channels(cfg: Config, model: BaseModel) -> None:
    """Check the model, its preprocessor and the views of a run that loads by ``LoadChannels``.

    Raises:
        ValueError: If the backbone has other channels, a transform needs 8-bit RGB, evaluation
            loads other images, or mean and standard deviation are not those of the images.
    """
    for option, step, dataset in pipeline_steps(cfg, [_KEY], 'LoadChannels'):
        loader = TRANSFORMS.build(dict(step))
        for place, transform in _inner_steps(dataset['pipeline'], option.rpartition('.')[0]):
            if reason := needs_rgb(transform):
                raise ValueError(f'{place}: {reason}, but the images have {loader.kind}.')
        state = model.backbone.state_dict()
        name = first_convolution(state)
        if name is not None and state[name].shape[1] != loader.kind.channels:
            raise ValueError(
                f'{option}.channels={loader.kind.channels}, but the backbone is for images of '
                f'{state[name].shape[1]} channels: set its in_channels.'
            )
        _check_evaluation(cfg, step)
        _check_statistics(cfg, loader, dataset)


def needs_rgb(step: dict[str, Any]) -> str:
    """Why a transform needs 8-bit RGB images, and the way out; ``''`` if it does not."""
    name = class_name(step)
    if name == 'ColorJitter':
        given = [key for key in ('saturation', 'hue') if step.get(key)]
        if given:
            settings = ' and '.join(f'{key}={step[key]!r}' for key in given)
            return f'ColorJitter with {settings} needs 8-bit RGB images (set {given[0]}=0)'
        return ''
    cls = TRANSFORMS.get(name)
    is_of_pillow = isinstance(cls, type) and issubclass(cls, BaseAugTransform)
    if name == 'RandomGrayscale' or (is_of_pillow and name != 'GaussianBlur'):
        return f'{name} needs 8-bit RGB images (leave it out)'
    photometry = step.get('photometry', 'loader')
    if name == 'CandidateViews' and photometry != 'loader':
        return f"photometry={photometry!r} needs 8-bit RGB images (set 'loader')"
    if name == 'RandomResizedCrop' and step.get('backend', 'cv2') != 'pillow':
        return 'RandomResizedCrop needs 8-bit RGB images unless backend is pillow (set it)'
    if name == 'ResizeEdge':
        return 'ResizeEdge needs 8-bit RGB images (use ResizeEdgeOfChannels)'
    return ''


def _inner_steps(value: Any, option: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the transforms in settings with their options, also those inside of others."""
    if isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _inner_steps(part, f'{option}.{number}')
    elif isinstance(value, dict) and isinstance(value.get('type'), str):
        yield option, value
        yield from _inner_steps(value.get('transforms'), f'{option}.transforms')


def _check_evaluation(cfg: Config, step: dict[str, Any]) -> None:
    """Check that evaluation, during the run and after it, loads the same images."""
    steps = cfg.get('knn_pipeline') or [{}]
    same = ('type', 'channels', 'bits')
    if any(steps[0].get(key) != step[key] for key in same):
        wanted = ', '.join(f'{key}={step[key]!r}' for key in same)
        raise ValueError(
            f"knn_pipeline must begin with dict({wanted}, bad_images='error'), as the training "
            f'loads, not with {dict(steps[0])}: evaluation would take the images for 8-bit RGB.'
        )
    for place, transform in _inner_steps(steps, 'knn_pipeline'):
        if reason := needs_rgb(transform):
            raise ValueError(f'{place}: {reason}.')


def _check_statistics(cfg: Config, loader: Any, dataset: dict[str, Any]) -> None:
    settings = cfg.get('data_preprocessor') or {}
    if class_name(settings) != 'ChannelPreprocessor':
        raise ValueError(
            f'data_preprocessor.type={settings.get("type")!r} is for 8-bit RGB images, but these '
            f"have {loader.kind}: set it to 'ChannelPreprocessor', with mean and std of the "
            f'images; {_MEASURE}.'
        )
    mean, std = settings['mean'], settings['std']
    if len(mean) != loader.kind.channels:
        raise ValueError(
            f'data_preprocessor.mean has {len(mean)} numbers, but the images have {loader.kind}: '
            f'{_MEASURE}.'
        )
    pixels = _some_pixels(loader, dataset)
    if not len(pixels):
        # The run reports it.
        return
    found, spread = pixels.mean(axis=0), pixels.std(axis=0)
    distance = np.abs(found - mean) / std
    if distance.mean() > _FAR:
        channel = int(distance.argmax())
        raise ValueError(
            f'data_preprocessor.mean={mean[channel]:g} and std={std[channel]:g} of channel '
            f'{channel + 1} are not those of the images, which have {found[channel]:.4g} and '
            f'{spread[channel]:.4g} in a sample: {_MEASURE}.'
        )


def _some_pixels(loader: Any, dataset: dict[str, Any]) -> np.ndarray:
    """The pixels (N, C) float64 of some images; none of those that cannot be read."""
    built = build_lazily({**dataset, 'pipeline': []})
    built.full_init()
    pixels = [np.empty((0, loader.kind.channels))]
    for position in np.linspace(0, len(built) - 1, min(_SAMPLE, len(built))).astype(int):
        try:
            image = loader.read(built.get_data_info(position)['img_path'])
        except (OSError, ValueError):
            continue
        # (H, W, C) -> (H W, C)
        pixels.append(image.reshape(-1, loader.kind.channels))
    return np.concatenate(pixels)
