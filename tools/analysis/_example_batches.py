"""Batches of random training images and their candidate views."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import BaseDataset

from hvs_mm.datasets import Examples, draw_examples


def draw_example_batches(
    dataset: BaseDataset, images: int, batch_size: int, seed: int
) -> Iterator[tuple[int, Examples]]:
    """Draw candidate views of random images in batches; see :func:`whole_batches`.

    Yields:
        The seed of the batch's views, and the batch.
    """
    # The images of many data sets are sorted by class.
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    for start in range(0, images, batch_size):
        # A seed of its own for each batch, or all would have the same crops.
        yield seed + start, draw_examples(dataset, order[start : start + batch_size], seed + start)


def whole_batches(dataset: BaseDataset, images: int, batch_size: int) -> int:
    """Round a number of images, ``--images``, down to whole batches that the data set has.

    Raises:
        ValueError: If there is no whole batch.
    """
    number = min(images, len(dataset)) // batch_size * batch_size
    if number < 1:
        raise ValueError(
            f'--images {images}: of the {len(dataset)} images of the data set this makes no '
            f'batch of {batch_size}. Ask for more, or give a smaller --batch-size.'
        )
    return number
