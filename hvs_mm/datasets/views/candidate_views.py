"""Candidate views: drawn from one decoded image, with their crop geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS

from ...selection.statistics.color import ViewColors
from ...utils.bad_images import SKIPPED_FIELD
from ...utils.photometry_operations import PHOTOMETRY_FIELD, pack_operations
from . import recorded_colors as photometry
from . import recorded_geometry as geometry
from .deferred_photometry import DEFERRED, OPERATIONS_KEY, check_deferred
from .fast_transforms import is_color_image
from .recorded_colors import COLORS_KEY
from .recorded_geometry import GEOMETRY_KEY, ViewGeometry, image_size, supported_transforms
from .recording import record

#: What is followed through a pipeline: with upstream's own code, and in less time.
_EXACT = {**geometry.RECORDED, **photometry.RECORDED}
_FAST = {**geometry.RECORDED_FAST, **photometry.RECORDED_FAST}


@TRANSFORMS.register_module()
class CandidateViews(BaseTransform):
    """Draw all candidate views of an image.

    Takes the arguments of MMPretrain's ``MultiView`` and draws the same views from the same
    random numbers, but copies no image per view, takes a fraction of the time, and records where
    every view lies and how its colors were changed.

    The pixels of crops that Pillow resizes, of ``ColorJitter`` and of ``GaussianBlur`` are computed
    another way than upstream's (:mod:`hvs_mm.datasets.fast`). Few of them differ, by one level of
    256, hardly any by two.

    **Required Keys:** ``img``, an ndarray (H, W, 3).

    **Modified Keys:** ``img``, a list of one image per view, pipeline after pipeline.

    **Added Keys**, for ``S`` views:

    - ``view_boxes``: (S, 4) float32, crop boxes ``x1, y1, x2, y2`` in pixels of the original
      image, upper bounds exclusive,
    - ``view_flips``: (S, 2) bool, mirrored horizontally, vertically,
    - ``view_sizes``: (S, 2) int64, height and width of the view in pixels,
    - ``view_colors``: (S, 7) float32, the columns of :data:`hvs_mm.selection.COLOR_CHANGES`.

    Only the changes by upstream's ``ColorJitter``, ``RandomGrayscale``, ``GaussianBlur`` and
    ``Solarize`` are recorded in ``view_colors``.

    With ``photometry='device'`` these four are drawn and recorded, but not carried out: the
    preprocessor :class:`hvs_mm.models.DevicePhotometry` does that, for whole batches on the device
    of the model. What it has to do stands in ``view_photometry``, (S, K, 4) float32. The random
    numbers are the same as without.

    Args:
        transforms: One pipeline per group: lists of transforms or their configs. Upstream's
            ``view_pipeline`` lists are taken as they are.
        num_views: Views drawn per pipeline; an integer if there is one pipeline.
        photometry: Where colors are changed, ``'loader'`` or ``'device'``.
        exact: Compute every pixel with upstream's own code, several times as slow. Boxes, flips,
            sizes and colors are the same either way. Defaults to False.

    Raises:
        TypeError: If ``transforms`` is no list of lists, or a count no integer.
        ValueError: If the lengths differ, a count is below 1, a pipeline has a crop or flip
            that cannot be recorded, or the device one that it cannot carry out.
    """

    def __init__(
        self,
        transforms: Sequence[Sequence[dict[str, Any] | Callable]],
        num_views: int | Sequence[int],
        photometry: str = 'loader',
        exact: bool = False,
    ) -> None:
        if not isinstance(num_views, (int, Sequence)):
            raise TypeError(f'num_views={num_views!r} must be an integer or a list of them.')
        counts = [num_views] if isinstance(num_views, int) else list(num_views)
        for count in counts:
            if isinstance(count, bool) or not isinstance(count, int):
                raise TypeError(f'num_views={num_views!r} must be an integer or a list of them.')
            if count < 1:
                raise ValueError(f'num_views={num_views!r}: every count must be at least 1.')
        if not _is_list(transforms) or not all(
            _is_list(pipeline) and all(isinstance(one, dict) or callable(one) for one in pipeline)
            for pipeline in transforms
        ):
            raise TypeError(
                'transforms must be a list of pipelines, each a list of transforms: write '
                'transforms=[view_pipeline] for a single one.'
            )
        if len(counts) != len(transforms) or not counts:
            raise ValueError(
                f'num_views={num_views!r} gives {len(counts)} count(s) for {len(transforms)} '
                'pipeline(s): give one per pipeline.'
            )
        if photometry not in ('loader', 'device'):
            raise ValueError(f"photometry={photometry!r} must be 'loader' or 'device'.")
        self.num_views = counts
        self.exact = exact
        self.on_device = photometry == 'device'
        replaced = _EXACT if exact else _FAST
        if self.on_device:
            replaced = {**replaced, **DEFERRED}
        self.pipelines = [record(Compose(pipeline), replaced) for pipeline in transforms]
        if self.on_device:
            for pipeline in self.pipelines:
                check_deferred(pipeline)

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Draw the views; ``None`` if a pipeline gives up on the image.

        Raises:
            ValueError: If there is no image, a transform changes its size in a way that cannot be
                followed, or writes into the decoded image that all views share.
        """
        # Guards the shared array: a transform that works in place must fail, not leak its
        # changes into the other views.
        image = results['img']
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
            found = getattr(image, 'shape', type(image).__name__)
            raise ValueError(
                f'CandidateViews takes img, an ndarray (H, W, 3) of at least one pixel, not '
                f"{found}: put dict(type='LoadImageFromFile') in front of it."
            )
        shared = image.view()
        shared.flags.writeable = False
        images, geometries, colors, operations = [], [], [], []
        for pipeline, count in zip(self.pipelines, self.num_views):
            for _ in range(count):
                view = self._draw(pipeline, {**results, 'img': shared})
                if view is None:
                    return None
                image = view['img']
                if isinstance(image, np.ndarray) and not image.flags.writeable:
                    image = image.copy()
                images.append(image)
                geometries.append(view[GEOMETRY_KEY])
                colors.append(view[COLORS_KEY])
                operations.append(view[OPERATIONS_KEY])
        results['img'] = images
        results['view_boxes'] = np.array([g.box for g in geometries], dtype=np.float32)
        results['view_flips'] = np.array([g.flipped for g in geometries], dtype=bool)
        results['view_sizes'] = np.array([g.size for g in geometries], dtype=np.int64)
        results['view_colors'] = np.array([c.values() for c in colors], dtype=np.float32)
        if self.on_device:
            results[PHOTOMETRY_FIELD] = pack_operations(operations)
        return results

    def _draw(self, pipeline: Compose, view: dict[str, Any]) -> dict[str, Any] | None:
        view[GEOMETRY_KEY] = ViewGeometry(*view['img'].shape[:2])
        view[COLORS_KEY] = ViewColors()
        view[OPERATIONS_KEY] = []
        for transform in pipeline:
            try:
                view = transform(view)
            except ValueError as error:
                if 'read-only' not in str(error):
                    raise
                raise ValueError(
                    f'transform {type(transform).__name__} in CandidateViews writes into the '
                    'decoded image, which all views share: move it behind a crop or a resize, '
                    'which give the view pixels of its own.'
                ) from error
            if view is None:
                return None
            size = image_size(view['img'])
            if size != view[GEOMETRY_KEY].size:
                raise ValueError(
                    f'transform {type(transform).__name__} in CandidateViews changes the image '
                    f'size to {size} in a way that cannot be recorded. Use one of '
                    f'{supported_transforms()} to crop and resize, or apply it before '
                    'CandidateViews.'
                )
        return view

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_views={self.num_views}, transforms={self.pipelines}, '
            f'exact={self.exact})'
        )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


@TRANSFORMS.register_module()
class PackViews(PackInputs):
    """Pack candidate views, and their geometry into the data sample.

    As upstream's ``PackInputs``, with ``view_boxes``, ``view_flips``, ``view_sizes``,
    ``view_colors`` and ``view_photometry`` (see :class:`CandidateViews`) and ``view_masks`` (see
    :class:`BlockMasks`) among the meta keys, as ndarrays. A sample before which images were
    refused tells of them, see :class:`LoadCheckedImage`.
    """

    DEFAULT_META_KEYS = (
        *PackInputs.DEFAULT_META_KEYS,
        'view_boxes',
        'view_flips',
        'view_sizes',
        'view_colors',
        PHOTOMETRY_FIELD,
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
            # It is the transform's own list, and each image is to be told of once.
            skipped.clear()
        return packed

    @staticmethod
    def format_input(input_: Any) -> Any:
        """As upstream's: tensors (C, H, W) of an image or of a list of them, in less time."""
        if isinstance(input_, list):
            return [PackViews.format_input(item) for item in input_]
        if is_color_image(input_):
            return torch.from_numpy(np.stack(cv2.split(input_)))
        return PackInputs.format_input(input_)
