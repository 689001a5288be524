"""How the crops of two views overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...utils.to_device import index_tensor


class PairGeometry(NamedTuple):
    """Geometry of P pairs of views of B images; all (B, P) float32, from 0 to 1.

    Everything is measured in the original image, where a mirrored view has the same box: flips
    change ``mirrored`` alone.

    Attributes:
        iou: Intersection over union of the two crop boxes.
        overlap: Intersection over the area of the smaller one: 1 if it lies within the other.
        center_distance: Distance of the centers over the diagonal of the smallest box around
            both, as in the DIoU (arXiv 1911.08287, equation 7).
        area_ratio: Area of the smaller one over that of the larger one.
        mirrored: 1 if one of the two is a mirror image of the other's orientation, else 0.
    """

    iou: Tensor
    overlap: Tensor
    center_distance: Tensor
    area_ratio: Tensor
    mirrored: Tensor


def pair_geometry(
    boxes: Tensor, pairs: Sequence[Sequence[int]], flips: Tensor | None = None
) -> PairGeometry:
    """Compare the crops of pairs of views.

    Args:
        boxes: (B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original image, not empty.
        pairs: P pairs of view positions.
        flips: (B, S, 2) bool, mirrored horizontally, vertically; by default none is.
    """
    first, second = index_tensor(pairs, boxes.device).unbind(1)
    boxes = boxes.float()
    # (B, P, 2) each: the corners of the two boxes
    low_a, high_a = boxes[:, first].split(2, dim=-1)
    low_b, high_b = boxes[:, second].split(2, dim=-1)
    area_a, area_b = (high_a - low_a).prod(-1), (high_b - low_b).prod(-1)
    smaller, larger = torch.minimum(area_a, area_b), torch.maximum(area_a, area_b)
    extent = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0)
    intersection = extent.prod(-1)
    around = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    between = (low_a + high_a - low_b - high_b) / 2
    if flips is None:
        mirrored = torch.zeros_like(intersection)
    else:
        # Mirrored in both directions is turned by half a circle, not a mirror image.
        odd = flips.sum(-1) % 2
        mirrored = (odd[:, first] != odd[:, second]).float()
    return PairGeometry(
        iou=intersection / (area_a + area_b - intersection),
        overlap=intersection / smaller,
        center_distance=between.norm(dim=-1) / around.norm(dim=-1),
        area_ratio=smaller / larger,
        mirrored=mirrored,
    )


def pair_ious(boxes: Tensor, pairs: Sequence[Sequence[int]]) -> Tensor:
    """Intersection over union (B, P) of P pairs of boxes (B, S, 4), see :func:`pair_geometry`."""
    return pair_geometry(boxes, pairs).iou
