"""Candidate views of some images, together with the images they were cut from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
)
from torch import Tensor, cat

from ...utils.crop_record import CROPS_FIELD
from ...utils.state_guard import own_random_numbers
from ..join_images import join_images
from ..views.candidate_views import CandidateViews

#: The pipeline may give up on this many images in a row.
_MAX_SKIPPED = 100


class Examples(NamedTuple):
    """Images of a data set and their candidate views.

    Attributes:
        images: B originals (H, W, 3) uint8, BGR as MMCV reads them; or (H, W, C) float32, as
            ``LoadChannels`` does.
        inputs: S tensors (B, C, h, w), one per candidate view, as the loader gives them to the
            model's preprocessor; or, where the device cuts them, a tensor as of ``join_images``.
        data_samples: B data samples.
    """

    images: list[np.ndarray]
    inputs: list[Tensor]
    data_samples: list[Any]

    def first_inputs(self, number: int) -> list[Tensor]:
        """The inputs of the first images alone."""
        crops = [sample.get(CROPS_FIELD) for sample in self.data_samples[:number]]
        if crops[0] is not None:
            number = sum(3 * math.prod(record[0, -2:].astype(int)) for record in crops)
        return [view[:number] for view in self.inputs]

    @property
    def boxes(self) -> np.ndarray:
        """(B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the originals."""
        return np.stack([sample.view_boxes for sample in self.data_samples])

    def batch(self) -> dict[str, Any]:
        """A batch for the model, as the loader makes it."""
        return {'inputs': self.inputs, 'data_samples': self.data_samples}


def join_examples(first: Examples, second: Examples) -> Examples:
    """Examples of the same candidate views, one after the other."""
    inputs = [cat(views) for views in zip(first.inputs, second.inputs)]
    samples = [*first.data_samples, *second.data_samples]
    return Examples([*first.images, *second.images], inputs, samples)


def draw_examples(dataset: BaseDataset, positions: Sequence[int], seed: int = 0) -> Examples:
    """Draw candidate views of some images; the same every time, whatever was drawn before.

    The data set has :class:`CandidateViews` in its pipeline, also inside a wrapper such as
    ``RepeatDataset``.

    Raises:
        ValueError: If the pipeline draws no candidate views, or gives up on image after image.
    """
    with own_random_numbers(seed):
        drawn = [_draw(dataset, position) for position in positions]
    images, samples = zip(*drawn)
    batch = join_images(samples)
    return Examples(list(images), batch['inputs'], batch['data_samples'])


def _draw(dataset: Any, position: int) -> tuple[np.ndarray, dict[str, Any]]:
    """An image and its views; the next image if the pipeline gives up on it."""
    for number in range(position, position + _MAX_SKIPPED):
        part, inner = _locate(dataset, number % len(dataset))
        reading, draw = _split(part)
        results = reading.prepare_data(inner)
        if results is not None:
            image = np.array(results['img'])
            sample = draw(results)
            if sample is not None:
                return image, sample
    raise ValueError(
        f'the pipeline gives up on image {position} of the data set and on the '
        f'{_MAX_SKIPPED - 1} after it: look at these files.'
    )


def _split(dataset: BaseDataset) -> tuple[BaseDataset, Compose]:
    """The data set with its pipeline up to the candidate views, and the rest of the pipeline."""
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
    """The data set that has an image, inside MMEngine's wrappers, and the position there."""
    while not hasattr(dataset, 'pipeline'):
        if isinstance(dataset, ConcatDataset):
            which, position = dataset._get_ori_dataset_idx(position)
            dataset = dataset.datasets[which]
        elif isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
            position = dataset._get_ori_dataset_idx(position)
            dataset = dataset.dataset
        elif len(getattr(dataset, 'dataset', ())) == len(dataset):
            # MMPretrain's KFoldDataset holds just its part.
            dataset = dataset.dataset
        else:
            raise ValueError(
                f'{type(dataset).__name__} is no wrapper that is known: expected a data set '
                "with a pipeline, or MMEngine's ConcatDataset, RepeatDataset or "
                'ClassBalancedDataset around one.'
            )
    return dataset, position
