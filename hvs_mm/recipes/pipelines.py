"""The steps from a file to the views of a recipe, and to the image of an evaluation."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mmengine.config import ConfigDict

from ..datasets.loading.image_kind import RGB, ImageKind
from .recipe import Recipe


def loading_step(kind: ImageKind) -> dict[str, Any]:
    """Load an image of this kind."""
    if kind == RGB:
        return dict(type='LoadCheckedImage')
    return dict(type='LoadChannels', **kind._asdict())


def evaluation_pipeline(size: int, kind: ImageKind = RGB) -> list[dict[str, Any]]:
    """Load an image and cut its center, with the margin of ImageNet's 224 of 256 pixels.

    Small images are scaled to the size as a whole.
    """
    edge = dict(scale=size if size <= 96 else round(size * 256 / 224), edge='short')
    if kind == RGB:
        resize = dict(type='ResizeEdge', **edge, backend='pillow', interpolation='bicubic')
    else:
        resize = dict(type='ResizeEdgeOfChannels', **edge, interpolation='bicubic')
    return [
        dict(loading_step(kind), bad_images='error'),
        resize,
        dict(type='CenterCrop', crop_size=size),
        dict(type='PackInputs'),
    ]


def fit_view(view: list[ConfigDict], recipe: Recipe) -> list[ConfigDict]:
    """Fit the transforms of a view to the size and the kind of the images."""
    fitted = []
    for step in deepcopy(view):
        if recipe.kind != RGB and not _leave_rgb_out(step):
            continue
        if step.type == 'RandomResizedCrop':
            # The large ones have 224 pixels.
            step.scale = recipe.local_size if step.scale < 224 else recipe.image_size
        if recipe.is_small and step.type == 'GaussianBlur':
            continue
        if recipe.is_small and step.type == 'RandomApply':
            # SimCLR halves its strength for CIFAR-10 (arXiv 2002.05709, appendix B.9).
            for jitter in step.transforms:
                jitter.update(brightness=0.4, contrast=0.4)
                if recipe.kind == RGB:
                    jitter.update(saturation=0.4, hue=0.1)
        fitted.append(step)
    return fitted


def _leave_rgb_out(step: ConfigDict) -> bool:
    """Take out of a transform what needs 8-bit RGB, in place; whether anything is left of it."""
    if step.type == 'ColorJitter':
        step.update(saturation=0.0, hue=0.0)
    if 'transforms' in step:
        step.transforms = [inner for inner in step.transforms if _leave_rgb_out(inner)]
        return bool(step.transforms)
    return step.type not in ('RandomGrayscale', 'Solarize')
