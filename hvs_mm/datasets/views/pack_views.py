"""Pack candidate views for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS

from ...utils.bad_images import SKIPPED_FIELD
from ...utils.crop_record import CROPS_FIELD
from ...utils.photometry_operations import PHOTOMETRY_FIELD
from .view_transform import is_color_image


@TRANSFORMS.register_module()
class PackViews(PackInputs):
    """Pack candidate views, and what was recorded of them into the data sample.

    Like upstream's ``PackInputs``, with ``view_boxes``, ``view_flips``, ``view_sizes``,
    ``view_colors``, ``view_photometry`` and ``view_crops`` (see :class:`CandidateViews`) and
    ``view_masks`` (see :class:`BlockMasks`) among the meta keys, as ndarrays. The sample also
    carries the images that were refused before it, see :class:`LoadCheckedImage`.
    """

    DEFAULT_META_KEYS = (
        *PackInputs.DEFAULT_META_KEYS,
        'view_boxes',
        'view_flips',
        'view_sizes',
        'view_colors',
        PHOTOMETRY_FIELD,
        CROPS_FIELD,
        'view_masks',
    )

    def __init__(
        self,
        input_key: str = 'img',
        algorithm_keys: Sequence[str] = (),
        meta_keys: Sequence[str] = DEFAULT_META_KEYS,
    ) -> None:
        super().__init__(input_key, algorithm_keys, meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack the views and what was recorded of them."""
        packed = super().transform(results)
        skipped = results.get(SKIPPED_FIELD)
        if skipped:
            packed['data_samples'].set_field(tuple(skipped), SKIPPED_FIELD, field_type='metainfo')
            # The list belongs to the transform, and each image is to be reported once.
            skipped.clear()
        return packed

    @staticmethod
    def format_input(input_: Any) -> Any:
        """Convert an image or a list of them to tensors (C, H, W), faster than upstream."""
        if isinstance(input_, list):
            return [PackViews.format_input(item) for item in input_]
        if is_color_image(input_):
            return torch.from_numpy(np.stack(cv2.split(input_)))
        return PackInputs.format_input(input_)
