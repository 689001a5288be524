"""Crops that are left to the device, as numbers that travel with a data sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .view_geometry import ViewGeometry

#: Field of a data sample with the crops that are still to be cut out of its image.
CROPS_FIELD = 'view_crops'
#: Columns of a record. The box is in pixels of the image as it is sent, whose size ends each row.
CROP_COLUMNS = (
    *('x1', 'y1', 'x2', 'y2', 'mirrored', 'upside_down'),
    *('height', 'width', 'filter', 'image_height', 'image_width'),
)
#: Filters of the device, MMCV's backend and interpolation. A record has the position of one.
FILTERS = (('pillow', 'bilinear'), ('pillow', 'bicubic'), ('cv2', 'bilinear'))


def pack_crops(
    views: Sequence[ViewGeometry],
    filters: Sequence[int],
    image_size: tuple[int, int],
    sent_size: tuple[int, int],
) -> np.ndarray:
    """Record the S crops of an image, (S, 11) float32, with the columns :data:`CROP_COLUMNS`.

    Args:
        views: Geometry of each view; its box is in pixels of the original image.
        filters: Position of each view's filter in :data:`FILTERS`.
        image_size: (height, width) of the original image.
        sent_size: (height, width) that it is sent with.
    """
    # (S, 4)
    boxes = np.array([view.box for view in views])
    boxes *= np.tile(np.divide(sent_size, image_size)[::-1], 2)
    # At least a pixel: a box may be smaller in an image that was shrunk.
    low = np.minimum(boxes[:, :2], np.array(sent_size[::-1]) - 1)
    high = np.maximum(boxes[:, 2:], low + 1)
    rows = [
        (*view.flipped, *view.size, position, *sent_size) for view, position in zip(views, filters)
    ]
    return np.concatenate([low, high, np.array(rows)], axis=1).astype(np.float32)
