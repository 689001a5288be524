"""Candidate views of some images, together with the images they were cut from."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import BaseDataset, default_collate
from torch import Tensor

from .candidate_views import CandidateViews
from .random_state import own_random_numbers


class Examples(NamedTuple):
    """Images of a data set and their candidate views.

    Attributes:
        images: B originals (H, W, 3) uint8, BGR as MMCV reads them.
        inputs: S tensors (B, 3, h, w), one per candidate view, as the loader gives them to the
            model's preprocessor.
        data_samples: B data samples.
    """

    images: list[np.ndarray]
    inputs: list[Tensor]
    data_samples: list[Any]

    @property
    def boxes(self) -> np.ndarray:
        """(B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the originals."""
        return np.stack([sample.view_boxes for sample in self.data_samples])

    def batch(self) -> dict[str, Any]:
        """What the loader gives to the model."""
        return {'inputs': self.inputs, 'data_samples': self.data_samples}


def draw_examples(dataset: BaseDataset, positions: Sequence[int], seed: int = 0) -> Examples:
    """Draw candidate views of some images; the same every time, whatever was drawn before.

    Args:
        dataset: Of a pretraining run with :class:`CandidateViews` in its pipeline; a wrapper such
            as ``RepeatDataset`` is searched for it.
        positions: Which images, as positions in ``dataset``.
        seed: Of the views.

    Raises:
        ValueError: If the pipeline draws no candidate views, or gives up on an image.
    """
    images, samples = [], []
    with own_random_numbers(seed):
        for position in positions:
            part, number = _locate(dataset, position)
            reading, draw = _split(part)
            results = reading.prepare_data(number)
            if results is not None:
                images.append(np.array(results['img']))
                results = draw(results)
            if results is None:
                raise ValueError(f'the pipeline gives up on image {position} of the data set.')
            samples.append(results)
    batch = default_collate(samples)
    return Examples(images, batch['inputs'], batch['data_samples'])


def _split(dataset: BaseDataset) -> tuple[BaseDataset, Compose]:
    """The data set with its pipeline up to the candidate views, which reads images; the rest."""
    transforms = dataset.pipeline.transforms
    start = next((i for i, t in enumerate(transforms) if isinstance(t, CandidateViews)), None)
    if start is None:
        raise ValueError(
            f'the pipeline of {type(dataset).__name__} has no CandidateViews: '
            f'{[type(t).__name__ for t in transforms]}. Use the config of a run with hard view '
            'selection.'
        )
    reading = copy(dataset)
    reading.pipeline = Compose(transforms[:start])
    return reading, Compose(transforms[start:])


def _locate(dataset: Any, position: int) -> tuple[BaseDataset, int]:
    """The data set inside of MMEngine's wrappers that has an image, and the position there."""
    while not hasattr(dataset, 'pipeline'):
        found = dataset._get_ori_dataset_idx(position)
        if isinstance(found, tuple):
            which, position = found
            dataset = dataset.datasets[which]
        else:
            dataset, position = dataset.dataset, found
    return dataset, position
