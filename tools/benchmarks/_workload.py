"""The model of a config with hard view selection, and random batches of its shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from hvs_mm.engine import build_model
from hvs_mm.models import HVSAlgorithm
from hvs_mm.utils.state_guard import own_random_numbers

#: Where a sample has the masks of its target views.
_MASKS = 'view_masks'


def selecting_model(
    cfg: Config, build: Callable[[Config], nn.Module] = build_model
) -> HVSAlgorithm:
    """Build the model of a config, and let it log errors only.

    Raises:
        ValueError: If it selects no views.
    """
    # Where MMPretrain's optimizers are found, such as LARS.
    init_default_scope('mmpretrain')
    # What the models log about their weights and parameter groups would bury the tables.
    MMLogger.get_current_instance().setLevel('ERROR')
    model = build(cfg)
    if not isinstance(model, HVSAlgorithm):
        raise ValueError(
            f'{cfg.filename} builds a {type(model).__name__}, which selects no views: name a '
            'config with model.type=HVSAlgorithm. Benchmarks measure the step without selection '
            'along with it.'
        )
    return model


class Batch(NamedTuple):
    """A batch as the preprocessor gives it.

    Attributes:
        views: S tensors (B, 3, H, W), normally distributed.
        samples: B data samples with random ``view_boxes`` and ``view_colors``, and ``view_masks``
            where the pipeline draws masks.
    """

    views: list[Tensor]
    samples: list[DataSample]


def view_sizes(cfg: Config) -> list[tuple[int, int]]:
    """(height, width) of every candidate view that a config's loader draws.

    Raises:
        ValueError: If it draws none, or views of the size of their image.
    """
    pipeline = cfg.get('train_dataloader', {}).get('dataset', {}).get('pipeline', [])
    found = [step for step in pipeline if step['type'] == 'CandidateViews']
    if not found:
        raise ValueError(
            f'{cfg.filename} draws no candidate views: its train_dataloader.dataset.pipeline has '
            'no CandidateViews. Name a config with hard view selection, such as '
            'configs/hvs_simsiam_100e.py.'
        )
    draw = TRANSFORMS.build(dict(found[0]))
    with own_random_numbers(0):
        small, large = (
            [view.shape[:2] for view in draw({'img': np.zeros((side, side, 3), np.uint8)})['img']]
            for side in (64, 80)
        )
    if small != large:
        raise ValueError(
            f'a pipeline of CandidateViews in {cfg.filename} does not say the size of its views: '
            'it has no crop, and no resizing, to a given size.'
        )
    return small


def random_batch(
    cfg: Config,
    batch_size: int,
    views: Sequence[int] | None = None,
    device: torch.device | str = 'cpu',
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Batch:
    """Draw the candidates at some positions, by default all, with the same masks every time."""
    sizes = view_sizes(cfg)
    views = range(len(sizes)) if views is None else views
    tensors = [
        torch.randn(batch_size, 3, *sizes[view], device=device).to(memory_format=memory_format)
        for view in views
    ]
    configs = [t for t in cfg.train_dataloader.dataset.pipeline if t['type'] == 'BlockMasks']
    transforms = [TRANSFORMS.build(dict(config)) for config in configs]
    samples = []
    with own_random_numbers(0):
        for _ in range(batch_size):
            results: dict[str, Any] = {'img': [np.empty((*size, 0), np.uint8) for size in sizes]}
            for transform in transforms:
                results = transform(results)
            del results['img']
            low, high, colors = torch.rand(len(sizes), 11).split([2, 2, 7], 1)
            records = {'view_boxes': torch.cat([low, low + high], 1), 'view_colors': colors}
            for name, values in records.items():
                results[name] = values[list(views)].numpy()
            if _MASKS in results:
                kept = [view for view in views if view < len(results[_MASKS])]
                results[_MASKS] = results[_MASKS][kept]
            samples.append(DataSample(metainfo=results))
    return Batch(tensors, samples)
