"""What the transforms of a view have in common: ways to apply them, and a record."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

#: Results of a pipeline, as MMCV's transforms pass them on.
Results = dict[str, Any]


class ViewTransform(BaseTransform):
    """Mixed into an upstream transform, in front of it.

    A subclass draws the random numbers of the upstream class in the same order, applies them in
    one of several ways, and records what it did to the view.

    Attributes:
        exact: Compute every pixel with upstream's own code. Otherwise a faster operation is used
            where there is one, and upstream's code for other images and settings.
        on_device: Leave changes of color to the preprocessor of the model.
        cut_on_device: Leave crops, resizes and flips to it, too.
    """

    exact = False
    on_device = False
    cut_on_device = False

    @classmethod
    def from_upstream(cls, transform: BaseTransform, **attributes: bool) -> ViewTransform:
        """Make one of our transforms with the settings of one of upstream's, or of ``cls``."""
        ours = cls.__new__(cls)
        ours.__dict__.update(vars(transform), **attributes)
        return ours


def is_color_image(image: Any) -> bool:
    """Whether this is an ndarray (H, W, 3) uint8, as the faster operations take it."""
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
    )


def is_channel_image(image: Any) -> bool:
    """Whether this is an ndarray (H, W, C) float32, as :class:`LoadChannels` loads it."""
    return isinstance(image, np.ndarray) and image.dtype == np.float32 and image.ndim == 3


def image_size(image: Any) -> tuple[int, int]:
    """(height, width) of an ndarray (H, W[, C]), a PIL image or a tensor (C, H, W)."""
    if isinstance(image, np.ndarray):
        height, width = image.shape[:2]
        return height, width
    if hasattr(image, 'size') and not callable(image.size):
        return image.size[::-1]
    return tuple(image.shape[-2:])
