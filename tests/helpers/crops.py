"""Random crops, and the overlap of combinations of them in loops."""

from __future__ import annotations

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from hvs_mm.selection import ViewGroups
from tests.helpers.scores import combinations_of


def random_boxes(batch_size: int, num_views: int) -> Tensor:
    """Crops (B, S, 4) float32, ``x1, y1, x2, y2``, some of which do not touch."""
    low = torch.rand(batch_size, num_views, 2) * 60
    return torch.cat([low, low + 5 + torch.rand(batch_size, num_views, 2) * 60], dim=2)


def iou_by_hand(first: list[float], second: list[float]) -> float:
    def extent(low: float, high: float) -> float:
        return max(high - low, 0.0)

    def area(box: list[float]) -> float:
        return extent(box[0], box[2]) * extent(box[1], box[3])

    low = [max(first[axis], second[axis]) for axis in (0, 1)]
    high = [min(first[axis], second[axis]) for axis in (2, 3)]
    shared = area([*low, *high])
    return shared / (area(first) + area(second) - shared)


def mean_ious(boxes: Tensor, groups: ViewGroups) -> Tensor:
    """The mean IoU (B, N), float64, of all combinations over the pairs that a loss has."""
    rows = []
    for views in boxes.tolist():
        row = []
        for kept in combinations_of(groups):
            targets = kept[: groups.num_kept_targets]
            pairs = [(t, s) for t in targets for s in kept if s != t]
            row.append(sum(iou_by_hand(views[t], views[s]) for t, s in pairs) / len(pairs))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def recorded(samples: list[DataSample], num_views: int) -> list[DataSample]:
    """Add random records of S views to data samples, in place."""
    boxes, colors = random_boxes(len(samples), num_views), torch.rand(len(samples), num_views, 7)
    for sample, *records in zip(samples, boxes, colors):
        values = dict(zip(('view_boxes', 'view_colors'), (one.numpy() for one in records)))
        sample.set_metainfo(values)
    return samples
