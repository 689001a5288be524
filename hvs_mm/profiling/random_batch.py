"""Random batches of the shapes that a config trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample
from torch import Tensor

from ..utils.state_guard import own_random_numbers

#: Transforms that give a view its size, and the argument that says it.
_SIZES = {
    'RandomResizedCrop': 'scale',
    'EfficientNetRandomCrop': 'scale',
    'RandomCrop': 'crop_size',
    'CenterCrop': 'crop_size',
    'Resize': 'scale',
}


#: Where a sample has the masks of its target views.
_MASKS = 'view_masks'


@dataclass(frozen=True)
class Batch:
    """A batch as the preprocessor gives it.

    Attributes:
        views: S tensors (B, 3, H, W), normally distributed.
        samples: B data samples, with ``view_masks`` where the pipeline draws masks.
    """

    views: list[Tensor]
    samples: list[DataSample]


def view_sizes(cfg: Config) -> list[tuple[int, int]]:
    """(height, width) of every candidate view that a config's loader draws.

    Args:
        cfg: A complete config whose pipeline has ``CandidateViews``.

    Raises:
        ValueError: If it has none, or a pipeline does not say the size of its views.
    """
    pipeline = cfg.get('train_dataloader', {}).get('dataset', {}).get('pipeline', [])
    found = [step for step in pipeline if step['type'] == 'CandidateViews']
    if not found:
        raise ValueError(
            f'{cfg.filename} draws no candidate views: its train_dataloader.dataset.pipeline has '
            'no CandidateViews. Name a config with hard view selection, such as '
            'configs/hvs_simsiam_100e.py.'
        )
    counts, sizes = found[0]['num_views'], []
    counts = [counts] if isinstance(counts, int) else counts
    for count, transforms in zip(counts, found[0]['transforms']):
        said = [t[_SIZES[t['type']]] for t in transforms if t['type'] in _SIZES]
        if not said:
            raise ValueError(
                f'a pipeline of CandidateViews in {cfg.filename} does not say the size of its '
                f'views: none of {sorted(_SIZES)} is in it.'
            )
        size = (said[-1], said[-1]) if isinstance(said[-1], int) else tuple(said[-1])
        # MMCV's Resize takes (width, height), the crops (height, width): equal where both occur.
        sizes += [size] * count
    return sizes


def random_batch(
    cfg: Config,
    batch_size: int,
    views: Sequence[int] | None = None,
    device: torch.device = torch.device('cpu'),  # noqa: B008 - a value
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Batch:
    """Draw a batch; views have the same masks every time, those of their candidates.

    Args:
        cfg: A complete config with candidate views.
        batch_size: B.
        views: Positions of the candidates to draw; all by default.
        device: Where the views go.
        memory_format: Of the views.
    """
    sizes = view_sizes(cfg)
    views = range(len(sizes)) if views is None else views
    tensors = [
        torch.randn(batch_size, 3, *sizes[view], device=device).to(memory_format=memory_format)
        for view in views
    ]
    samples = _samples(cfg, sizes, batch_size)
    for sample in samples:
        if hasattr(sample, _MASKS):
            masks = getattr(sample, _MASKS)
            kept = [view for view in views if view < len(masks)]
            sample.set_field(masks[kept], _MASKS, field_type='metainfo')
    return Batch(tensors, samples)


def _samples(cfg: Config, sizes: Sequence[tuple[int, int]], batch_size: int) -> list[DataSample]:
    configs = [t for t in cfg.train_dataloader.dataset.pipeline if t['type'] == 'BlockMasks']
    transforms = [TRANSFORMS.build(dict(config)) for config in configs]
    samples = []
    with own_random_numbers(0):
        for _ in range(batch_size):
            results: dict[str, Any] = {'img': [np.empty((*size, 0), np.uint8) for size in sizes]}
            for transform in transforms:
                results = transform(results)
            del results['img']
            samples.append(DataSample(metainfo=results))
    return samples
