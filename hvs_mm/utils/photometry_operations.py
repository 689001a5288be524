"""Changes of color that are left to the device, as numbers that travel with a data sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Where the colors of views are changed: values of ``photometry``. With ``'device_views'`` the
#: device also crops, resizes and flips.
PHOTOMETRY_PLACES = ('loader', 'device', 'device_views')
#: Field of a data sample with the operations that are still to be applied to its views.
PHOTOMETRY_FIELD = 'view_photometry'
#: Operations of the device. A record has 0 for none, 1 for the first of these.
OPERATIONS = ('brightness', 'contrast', 'saturation', 'hue', 'grayscale', 'blur', 'solarize')
#: Columns of a record: the operation and its up to three values.
_WIDTH = 4

#: An operation and its values, ``('hue', 0.1)``.
Operation = tuple[Any, ...]


def pack_operations(views: Sequence[Sequence[Operation]]) -> np.ndarray:
    """Record the operations of each of the S views of an image, (S, K, 4) float32.

    ``K`` is the largest number of operations of a view. Values are those of upstream's transforms:

    - ``brightness``, ``contrast``, ``saturation``: a factor,
    - ``hue``: a shift, from -0.5 to 0.5 of the color circle,
    - ``grayscale``: the weights of the channels in their order, which add up to 1,
    - ``blur``: the standard deviation in pixels,
    - ``solarize``: the gray level from which a channel is inverted.

    Raises:
        ValueError: If an operation is unknown.
    """
    record = np.zeros((len(views), max(map(len, views), default=0), _WIDTH), dtype=np.float32)
    for view, operations in enumerate(views):
        for step, (name, *values) in enumerate(operations):
            if name not in OPERATIONS:
                raise ValueError(f'operation {name!r} is none of {list(OPERATIONS)}.')
            record[view, step, 0] = OPERATIONS.index(name) + 1
            record[view, step, 1 : 1 + len(values)] = values
    return record


def stack_operations(records: Sequence[np.ndarray]) -> np.ndarray:
    """Join records (S, K, 4) of B images, with any K, to (B, S, K, 4) with the largest K."""
    steps = max(record.shape[1] for record in records)
    batch = np.zeros((len(records), len(records[0]), steps, _WIDTH), dtype=np.float32)
    for image, record in zip(batch, records):
        image[:, : record.shape[1]] = record
    return batch
