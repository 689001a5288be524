from __future__ import annotations

from itertools import combinations

import pytest
import torch

from hvs_mm.selection import pair_ious


def iou_by_hand(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def test_pair_ious():
    corner = torch.rand(6, 4, 2) * 50
    boxes = torch.cat([corner, corner + 1 + torch.rand(6, 4, 2) * 50], dim=2)
    pairs = list(combinations(range(4), 2))
    ious = pair_ious(boxes, pairs)
    assert ious.shape == (6, 6)
    for sample in range(6):
        for column, (a, b) in enumerate(pairs):
            expected = iou_by_hand(boxes[sample, a].tolist(), boxes[sample, b].tolist())
            assert ious[sample, column].item() == pytest.approx(expected, abs=1e-5)


def test_disjoint_and_equal_boxes():
    boxes = torch.tensor([[[0, 0, 4, 4], [4, 4, 8, 8], [0, 0, 4, 4]]])
    assert pair_ious(boxes, [(0, 1), (0, 2)]).tolist() == [[0, 1]]
