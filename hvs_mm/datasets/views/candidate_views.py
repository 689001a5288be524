"""Candidate views: drawn from one decoded image, with their crop geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmpretrain.registry import TRANSFORMS

from ...utils.arguments import check_choice, is_list, is_whole
from ...utils.crop_record import CROPS_FIELD, pack_crops
from ...utils.photometry_operations import PHOTOMETRY_FIELD, PHOTOMETRY_PLACES, pack_operations
from ...utils.view_geometry import ViewGeometry
from .colors import OPERATIONS_KEY, colors_after
from .geometry import FILTER_KEY, GEOMETRY_KEY, GEOMETRY_TRANSFORMS
from .pipelines import build_pipeline, names
from .pixels.resizing import shrink
from .view_transform import Results, image_size, is_color_image

#: Longest side of an image that is sent to the device, in pixels.
MAX_SIDE = 1024


@TRANSFORMS.register_module()
class CandidateViews(BaseTransform):
    """Draw all candidate views of an image.

    Takes the arguments of MMPretrain's ``MultiView`` and draws the same views from the same
    random numbers in a fraction of the time, without a copy of the image per view, and records
    where every view lies and how its colors were changed. A few pixels differ by one level of 256
    from upstream's, hardly any by two: :mod:`hvs_mm.datasets.views.pixels` is faster than Pillow.

    **Required Keys:** ``img``, an ndarray (H, W, 3).

    **Modified Keys:** ``img``, a list of one image per view, pipeline after pipeline.

    **Added Keys**, for ``S`` views:

    - ``view_pipelines``: the position of the pipeline of each view, a list,
    - ``view_boxes``: (S, 4) float32, crop boxes ``x1, y1, x2, y2`` in pixels of the original
      image, upper bounds exclusive,
    - ``view_flips``: (S, 2) bool, mirrored horizontally, vertically,
    - ``view_sizes``: (S, 2) int64, height and width of the view in pixels,
    - ``view_colors``: (S, 7) float32, the columns of :data:`hvs_mm.selection.COLOR_CHANGES`, as
      changed by ``ColorJitter``, ``RandomGrayscale``, ``GaussianBlur`` and ``Solarize``,
    - ``view_photometry``: (S, K, 4) float32, only with ``photometry='device'``. Those four are
      then drawn and recorded, but not applied: :class:`hvs_mm.models.DevicePhotometry` applies
      them to whole batches on the device of the model. The random numbers stay the same,
    - ``view_crops``: (S, 11) float32, only with ``photometry='device_views'``, the columns of
      :data:`hvs_mm.utils.crop_record.CROP_COLUMNS`. The device then also cuts, resizes and flips
      the views, and ``img`` is a list of one array (H W 3,) with the pixels of the image, shrunk
      to a longer side of 1024 pixels. Batches need :func:`hvs_mm.datasets.join_images`.

    Args:
        transforms: View pipelines: lists of transforms or their configs. Upstream's
            ``view_pipeline`` lists are taken as they are.
        num_views: Views drawn per pipeline; an integer if there is one pipeline. The groups of
            :class:`hvs_mm.HVSAlgorithm` take them in order. Usually a pipeline makes a group, but a
            group may have views of several, such as the first of ``candidates=[2, 2]`` with
            ``num_views=[1, 3]``.
        photometry: Where colors are changed, ``'loader'`` or ``'device'``; or ``'device_views'`` to
            leave everything but the draws to the device.
        exact: Compute every pixel with upstream's own code, several times as slow. Boxes, flips,
            sizes and colors are the same either way.

    Raises:
        TypeError: If ``transforms`` is no list of lists, or a count no integer.
        ValueError: If lengths differ, a count is below 1, a crop or flip cannot be recorded, or the
            device cannot carry out a pipeline.
    """

    def __init__(
        self,
        transforms: Sequence[Sequence[dict[str, Any] | Callable]],
        num_views: int | Sequence[int],
        photometry: str = 'loader',
        exact: bool = False,
    ) -> None:
        counts: list[Any] = list(num_views) if is_list(num_views) else [num_views]
        if not all(is_whole(count) for count in counts):
            raise TypeError(f'num_views={num_views!r} must be an integer or a list of them.')
        if not all(count >= 1 for count in counts):
            raise ValueError(f'num_views={num_views!r}: every count must be at least 1.')
        if not is_list(transforms) or not all(
            is_list(pipeline) and all(isinstance(one, dict) or callable(one) for one in pipeline)
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
        self.num_views = counts
        self.exact = exact
        self.photometry = check_choice('photometry', photometry, PHOTOMETRY_PLACES)
        if exact and photometry == 'device_views':
            raise ValueError(
                "exact=True computes every pixel with upstream's code, photometry='device_views' "
                "none of them: leave exact out, or set photometry='loader'."
            )
        self.pipelines = [build_pipeline(one, exact, photometry) for one in transforms]

    def transform(self, results: Results) -> Results | None:
        """Draw the views; ``None`` if a pipeline gives up on the image.

        Raises:
            ValueError: If there is no image, or a transform changes its size in an unknown way, or
                writes into the decoded image that all views share.
        """
        image = results['img']
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
            found = getattr(image, 'shape', type(image).__name__)
            raise ValueError(
                f'CandidateViews takes img, an ndarray (H, W, 3) of at least one pixel, not '
                f"{found}: put dict(type='LoadImageFromFile') in front of it."
            )
        if self.photometry == 'device_views' and not is_color_image(image):
            raise ValueError(
                "photometry='device_views' in CandidateViews takes 8-bit images with 3 channels, "
                f"(H, W, 3) uint8, not {image.shape} {image.dtype}: set photometry='loader'."
            )
        # A transform that works in place must fail, not leak its changes into the other views.
        shared = image.view()
        shared.flags.writeable = False
        views = []
        for pipeline, count in zip(self.pipelines, self.num_views):
            for _ in range(count):
                view = self._draw(pipeline, {**results, 'img': shared})
                if view is None:
                    return None
                if self.photometry != 'device_views':
                    view['img'] = _own_pixels(view['img'])
                views.append(view)
        geometries = [view[GEOMETRY_KEY] for view in views]
        operations = [view[OPERATIONS_KEY] for view in views]
        results['view_pipelines'] = [
            number for number, count in enumerate(self.num_views) for _ in range(count)
        ]
        results['view_boxes'] = np.array([g.box for g in geometries], dtype=np.float32)
        results['view_flips'] = np.array([g.flipped for g in geometries], dtype=bool)
        results['view_sizes'] = np.array([g.size for g in geometries], dtype=np.int64)
        colors = [colors_after(changes) for changes in operations]
        results['view_colors'] = np.array(colors, dtype=np.float32)
        if self.photometry != 'loader':
            results[PHOTOMETRY_FIELD] = pack_operations(operations)
        if self.photometry == 'device_views':
            sent = shrink(image, MAX_SIDE)
            sizes = image.shape[:2], sent.shape[:2]
            filters = [view[FILTER_KEY] for view in views]
            results[CROPS_FIELD] = pack_crops(geometries, filters, *sizes)
            # PyTorch warns about read-only arrays.
            results['img'] = [np.require(sent, requirements=('C', 'W')).reshape(-1)]
        else:
            results['img'] = [view['img'] for view in views]
        return results

    def _draw(self, pipeline: Compose, view: Results) -> Results | None:
        view[GEOMETRY_KEY] = ViewGeometry(*view['img'].shape[:2])
        view[OPERATIONS_KEY] = []
        for transform in pipeline:
            try:
                view = transform(view)
            except ValueError as error:
                if 'read-only' not in str(error):
                    raise
                raise ValueError(
                    f'transform {type(transform).__name__} in CandidateViews writes into the '
                    'decoded image, which all views share: put it after a crop or a resize, '
                    'which give the view pixels of its own.'
                ) from error
            if view is None:
                return None
            size = image_size(view['img'])
            if size != view[GEOMETRY_KEY].size:
                raise ValueError(
                    f'transform {type(transform).__name__} in CandidateViews changes the image '
                    f'size to {size} in a way that cannot be recorded. Use one of '
                    f'{names(GEOMETRY_TRANSFORMS)} to crop and resize, or apply it before '
                    'CandidateViews.'
                )
        return view

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_views={self.num_views}, transforms={self.pipelines}, '
            f'exact={self.exact})'
        )


def _own_pixels(image: Any) -> Any:
    """A view that may be written to."""
    is_shared = isinstance(image, np.ndarray) and not image.flags.writeable
    return image.copy() if is_shared else image
