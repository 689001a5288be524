"""Candidate views of a batch of images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from hvs_mm.datasets import BlockMasks, CandidateViews
from hvs_mm.datasets.block_masks import block_mask
from hvs_mm.datasets.views.geometry import RandomFlip, RandomResizedCrop
from hvs_mm.models.photometry.batch import apply_photometry
from hvs_mm.models.photometry.crops import resize_views
from hvs_mm.utils.crop_record import FILTERS
from hvs_mm.utils.photometry_operations import stack_operations

from ..schema import StudyError, expect
from .colors import colors_of, draw_operations
from .crops import draw_boxes

#: Numbers of what is drawn, in the keys of generators.
_VIEWS, _MASKS = range(2)


class ViewRecord(SimpleNamespace):
    """The records of one image's views, with the names they have in a data sample."""

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


class BatchedViews:
    """Draws the views of a training pipeline for whole batches, on the device of the images.

    Boxes, flips and colors have the distributions of :class:`hvs_mm.datasets.CandidateViews`. Every
    view has random numbers of its own, which depend only on the key of the batch and on the view's
    position in its group: pipelines that draw more candidates have the views of those that draw
    fewer.

    Args:
        pipeline: Steps of a training data set: ``MultiView`` or ``CandidateViews``, for iBOT
            ``BlockMasks``; loading and packing are left out.
        images: (N, H, 3, W) uint8, BGR.

    Raises:
        StudyError: If views cannot be drawn in batches.
    """

    def __init__(self, pipeline: Sequence[dict[str, Any]], images: Tensor) -> None:
        self.images = images
        settings, masks = _steps(pipeline)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            drawn = CandidateViews(settings['transforms'], settings['num_views'])
        self.num_views = drawn.num_views
        self.masks = masks and BlockMasks(**masks)
        #: For each group its crop, flip or None, and changes of color.
        self.groups = [_split(one.transforms) for one in drawn.pipelines]

    def draw(
        self, indices: Tensor, key: Sequence[int], num_views: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """The views of some images, as a batch before the ``data_preprocessor``.

        Args:
            indices: (B,) int64 positions of the images.
            key: Numbers of at least 0 that the random numbers depend on.
            num_views: Views of each group, by default as the pipeline says.

        Returns:
            ``inputs``, S tensors (B, 3, H, W) uint8, BGR, and ``data_samples``, B records.
        """
        count, (height, width) = len(indices), self.images.shape[1::2]
        boxes, flips, operations, sizes, places = [], [], [], [], []
        for group, (crop, flip, colors) in enumerate(self.groups):
            for view in range((num_views or self.num_views)[group]):
                rng = np.random.default_rng([*key, _VIEWS, group, view])
                boxes.append(draw_boxes(crop, height, width, count, rng))
                flips.append(_draw_flips(flip, count, rng))
                operations.append(draw_operations(colors, count, rng))
                sizes.append((*crop.scale, *crop.filter))
                places.append((group, view))
        # (B, S, ...)
        boxes, flips = np.stack(boxes, 1), np.stack(flips, 1)
        operations = stack_operations(operations).swapaxes(0, 1)
        images = self.images[indices.to(self.images.device)]
        where = (torch.from_numpy(one).to(images.device) for one in (boxes, flips))
        views = resize_views(images, *where, sizes)
        records = dict(
            view_boxes=boxes.astype(np.float32),
            view_flips=flips,
            view_sizes=np.broadcast_to([size[:2] for size in sizes], (count, len(sizes), 2)),
            view_colors=colors_of(operations),
        )
        if self.masks:
            full = [place for place, size in zip(places, sizes) if size[:2] == sizes[0][:2]]
            records['view_masks'] = self._draw_masks(count, full, sizes[0][:2], key)
        if operations[..., 0].any():
            views = apply_photometry(views, operations)
        samples = [ViewRecord(**dict(zip(records, one))) for one in zip(*records.values())]
        return {'inputs': views, 'data_samples': samples}

    def _draw_masks(
        self, count: int, places: list[tuple[int, int]], size: Sequence[int], key: Sequence[int]
    ) -> np.ndarray:
        """Masks (B, T, h, w) bool of T views, given by their groups and positions there."""
        grid = [side // self.masks.patch_size for side in size]
        masks = []
        for place in places:
            seed = np.random.SeedSequence([*key, _MASKS, *place]).generate_state(1)[0]
            rng = np.random.RandomState(seed)
            ratios, spreads = np.array(self.masks.ratios), np.array(self.masks.spreads)
            drawn = rng.uniform(ratios - spreads, ratios + spreads, (count, len(ratios)))
            shares = drawn[np.arange(count), rng.randint(len(ratios), size=count)]
            least = self.masks.min_patches
            masks.append([block_mask(*grid, share, rng, least) for share in shares])
        return np.array(masks).swapaxes(0, 1)


def _steps(pipeline: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The settings that draw views, and those that draw masks."""
    drawing, masks = [], None
    for step in pipeline:
        settings = step.to_dict() if isinstance(step, Config) else dict(step)
        kind = settings.pop('type')
        kind = kind if isinstance(kind, str) else kind.__name__
        if kind in ('MultiView', 'CandidateViews'):
            drawing.append(settings)
        elif kind == 'BlockMasks':
            masks = settings
        elif kind not in ('LoadImageFromFile', 'LoadCheckedImage', 'PackInputs', 'PackViews'):
            raise StudyError(f"engine='fast' knows no step {kind} in a pipeline; use 'runner'.")
    expect(len(drawing) == 1, 'the pipeline must have MultiView or CandidateViews once.')
    photometry = drawing[0].get('photometry', 'loader')
    expect(
        photometry == 'loader',
        f"{photometry=} in CandidateViews: engine='fast' makes views in batches anyway, leave it "
        "out, with data_preprocessor.type='SelfSupDataPreprocessor'.",
    )
    expect(
        not (masks or {}).get('per_pipeline'),
        "engine='fast' draws the masks of each view alone: leave per_pipeline of BlockMasks out, "
        "or use 'runner'.",
    )
    return drawing[0], masks


def _split(transforms: Sequence[Any]) -> tuple[RandomResizedCrop, RandomFlip | None, list[Any]]:
    crop, others = transforms[0], transforms[1:]
    expect(
        isinstance(crop, RandomResizedCrop) and crop.filter in FILTERS,
        "engine='fast' takes pipelines that begin with RandomResizedCrop, bilinear, or bicubic "
        f"with backend='pillow', not with {crop}; use engine='runner'.",
    )
    flips = [one for one in others if isinstance(one, RandomFlip)]
    is_plain = all(isinstance(f.prob, float) and isinstance(f.direction, str) for f in flips)
    expect(
        len(flips) < 2 and is_plain,
        "engine='fast' takes one RandomFlip with one direction in a pipeline; use 'runner'.",
    )
    # A mirror image of changed colors is the same as changed colors of a mirror image.
    return crop, flips[0] if flips else None, [one for one in others if one not in flips]


def _draw_flips(flip: RandomFlip | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """(B, 2) bool, mirrored horizontally, vertically."""
    found = np.zeros((count, 2), dtype=bool)
    if flip is not None:
        is_flipped = rng.random(count) < flip.prob
        found[:, 0] = is_flipped & (flip.direction != 'vertical')
        found[:, 1] = is_flipped & (flip.direction != 'horizontal')
    return found
