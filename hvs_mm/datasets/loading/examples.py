"""Candidate views of some images, together with the images they were cut from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import Compose
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
    default_collate,
)
from torch import Tensor

from ...utils.state_guard import own_random_numbers
from ..views.candidate_views import CandidateViews

#: Images that the pipeline may give up on, one after the other.
_MAX_SKIPPED = 100


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
        ValueError: If the pipeline draws no candidate views, or gives up on image after image.
    """
    images, samples = [], []
    with own_random_numbers(seed):
        for position in positions:
            image, sample = _draw(dataset, position)
            images.append(image)
            samples.append(sample)
    batch = default_collate(samples)
    return Examples(images, batch['inputs'], batch['data_samples'])


def draw_example_batches(
    dataset: BaseDataset, images: int, batch_size: int, seed: int
) -> Iterator[tuple[int, Examples]]:
    """Draw candidate views of random images in whole batches.

    Args:
        dataset: As for :func:`draw_examples`.
        images: How many, see :func:`whole_batches`.
        batch_size: Images in a batch.
        seed: Of the images and the views.

    Yields:
        The seed of the batch's views, and the batch.
    """
    # The images of many data sets come class by class.
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    for start in range(0, images, batch_size):
        # A seed of its own for each batch, or all would have the same crops.
        yield seed + start, draw_examples(dataset, order[start : start + batch_size], seed + start)


def whole_batches(dataset: BaseDataset, images: int, batch_size: int) -> int:
    """The number of images in whole batches of those that are asked for and there.

    Args:
        dataset: Where they come from.
        images: How many are asked for, by ``--images``.
        batch_size: Images in a batch, by ``--batch-size``.

    Raises:
        ValueError: If they make no batch.
    """
    number = min(images, len(dataset)) // batch_size * batch_size
    if number < 1:
        raise ValueError(
            f'--images {images}: of the {len(dataset)} images of the data set this makes no '
            f'batch of {batch_size}. Ask for more, or give a smaller --batch-size.'
        )
    return number


def _draw(dataset: Any, position: int) -> tuple[np.ndarray, dict[str, Any]]:
    """An image and its views; where the pipeline gives up on it, of the next one."""
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
                f'{type(dataset).__name__} is no wrapper that is known: expected a data set with '
                "a pipeline, or MMEngine's ConcatDataset, RepeatDataset or ClassBalancedDataset "
                'around one.'
            )
    return dataset, position
