"""Overlap of the crops that the candidate views were cut from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from .indexing import index_tensor


def pair_ious(boxes: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Intersection over union of the crop boxes of pairs of views.

    Args:
        boxes: (B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original image.
        pairs: Pairs of view positions.

    Returns:
        (B, number of pairs) float32, from 0 to 1.
    """
    first, second = index_tensor(pairs, boxes.device).unbind(1)
    # (B, S, S); box_iou broadcasts over no batch dimension in the oldest supported torchvision.
    ious = torch.stack([box_iou(sample, sample) for sample in boxes.float()])
    return ious[:, first, second]
