"""Block-wise masks of patches for masked image modeling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS

from ..utils.arguments import check_whole, is_list
from .views.view_transform import image_size

#: Rectangles have a ratio of sides between this one and its inverse.
_MIN_ASPECT = 0.3
_ATTEMPTS = 10


def block_mask(
    height: int, width: int, ratio: float, rng: Any, min_patches: int | None = None
) -> np.ndarray:
    """Mask random rectangles until a share of the patches is reached.

    The share is an upper bound: a rectangle that would exceed it is not placed.

    Args:
        height, width: Patches in a column and in a row.
        ratio: Share of patches to mask, in [0, 1).
        rng: Source of random numbers with ``uniform`` and ``randint``, as ``numpy.random``.
        min_patches: Area of the smallest rectangle; by default that of a third of the shorter side
            squared.

    Returns:
        (height, width) bool, true for masked patches.
    """
    mask = np.zeros((height, width), dtype=bool)
    # As in the published code: a fraction of a patch counts.
    budget = ratio * height * width
    smallest = (min(height, width) // 3) ** 2 if min_patches is None else min_patches
    log_aspect = math.log(_MIN_ASPECT)
    while mask.sum() < budget:
        left_over = budget - mask.sum()
        for _ in range(_ATTEMPTS):
            # Between the smallest block and the rest, whichever of the two is smaller.
            area = smallest + (left_over - smallest) * rng.uniform()
            aspect = math.exp(rng.uniform(log_aspect, -log_aspect))
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rows >= height or columns >= width:
                continue
            top = rng.randint(0, height - rows + 1)
            left = rng.randint(0, width - columns + 1)
            block = mask[top : top + rows, left : left + columns]
            if 0 < block.size - block.sum() <= left_over:
                block[:] = True
                break
        else:
            # No rectangle fits any more.
            break
    return mask


@TRANSFORMS.register_module()
class BlockMasks(BaseTransform):
    """Draw a block-wise mask for every full-size view, as iBOT and DINOv2 do.

    Source: section 4.1 of `arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_ and the published
    code. Comes after ``CandidateViews`` (or ``MultiView``) and before ``PackViews``.

    The default ratios leave a view whole with a probability of one half and mask 0.1 to 0.5 of it
    otherwise. DINOv2 masks exactly half of the views of a batch and spreads these ratios evenly
    over them; here, where each image is drawn alone, that holds on average.

    **Required Keys:** ``img``, a list of views.

    **Added Keys:** ``view_masks``, (T, h, w) bool, for the T leading views that have the size of
    the first one; true for masked patches.

    Args:
        patch_size: Side of a patch in pixels.
        ratio: Share of masked patches, or several, one of which is drawn per view.
        ratio_spread: The actual share is drawn from ``ratio`` plus or minus this; one number holds
            for all.
        min_patches: Patches of the smallest block: 4 in DINOv2, by default a third of the shorter
            side squared, as in iBOT.
        per_pipeline: Draw one share for all views of a view pipeline of ``CandidateViews``. A
            selection by the loss then cannot prefer candidates because they are masked more.

    Raises:
        TypeError: If a share is no number.
        ValueError: If a share with its spread leaves [0, 1), the lengths differ, or ``patch_size``
            or ``min_patches`` is no integer of at least 1.
    """

    def __init__(
        self,
        patch_size: int = 16,
        ratio: float | Sequence[float] = (0.0, 0.3),
        ratio_spread: float | Sequence[float] = (0.0, 0.2),
        min_patches: int | None = None,
        per_pipeline: bool = False,
    ) -> None:
        self.patch_size = check_whole('patch_size', patch_size)
        self.min_patches = min_patches
        if min_patches is not None:
            check_whole('min_patches', min_patches)
        self.per_pipeline = per_pipeline
        self.ratios = _shares('ratio', ratio)
        self.spreads = _shares('ratio_spread', ratio_spread)
        if isinstance(ratio_spread, (int, float)):
            self.spreads *= len(self.ratios)
        if len(self.ratios) != len(self.spreads) or not self.ratios:
            raise ValueError(
                f'ratio={ratio!r} and ratio_spread={ratio_spread!r} must have the same length.'
            )
        for share, spread in zip(self.ratios, self.spreads):
            if spread < 0 or not (share - spread >= 0 and share + spread < 1):
                raise ValueError(
                    f'mask ratio {share} with spread {spread}: all shares must lie in [0, 1). '
                    'Correct ratio and ratio_spread of BlockMasks.'
                )

    def draw_ratio(self) -> float:
        """Draw the share of masked patches of one view."""
        # Upstream's transforms draw from numpy's global generator, which workers seed.
        ratios, spreads = np.array(self.ratios), np.array(self.spreads)
        drawn = np.random.uniform(ratios - spreads, ratios + spreads)  # noqa: NPY002
        return drawn[np.random.randint(len(drawn))]  # noqa: NPY002

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draw the masks.

        Raises:
            ValueError: If there is no view, or its size is no multiple of the patch size.
        """
        sizes: list[Any] = [tuple(size) for size in results.get('view_sizes', ())]
        if not isinstance(results['img'], list) or not results['img']:
            raise ValueError(
                "BlockMasks takes img, a list of views: put it after dict(type='CandidateViews')."
            )
        # Where the device cuts the views, there are no pixels of them.
        sizes = sizes or [image_size(view) for view in results['img']]
        height, width = sizes[0]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'views of {height} x {width} pixels cannot be cut into patches of '
                f'patch_size={self.patch_size}: make the crop size a multiple of it.'
            )
        grid = height // self.patch_size, width // self.patch_size
        number = len(list(takewhile(lambda size: size == sizes[0], sizes)))
        masks = [
            block_mask(*grid, ratio, np.random, self.min_patches)
            for ratio in self._draw_ratios(results.get('view_pipelines'), number)
        ]
        results['view_masks'] = np.stack(masks)
        return results

    def _draw_ratios(self, pipelines: Sequence[int] | None, number: int) -> list[float]:
        """The shares of the first views, given the pipeline of each, or ``None`` if unknown."""
        if not self.per_pipeline or pipelines is None:
            return [self.draw_ratio() for _ in range(number)]
        ratios = {pipeline: self.draw_ratio() for pipeline in dict.fromkeys(pipelines[:number])}
        return [ratios[pipeline] for pipeline in pipelines[:number]]


def _shares(name: str, value: float | Sequence[float]) -> list[float]:
    shares: list[Any] = list(value) if is_list(value) else [value]
    if not all(isinstance(s, (int, float)) and not isinstance(s, bool) for s in shares):
        raise TypeError(f'{name}={value!r} of BlockMasks must be a number or a list of numbers.')
    return shares
