from __future__ import annotations

from itertools import combinations
from math import dist

import pytest
import torch
from torchvision.ops import box_iou, distance_box_iou

from hvs_mm.datasets import ViewGeometry
from hvs_mm.selection.statistics.geometry import pair_geometry, pair_ious

PAIRS = list(combinations(range(4), 2))


def random_boxes():
    corner = torch.rand(6, 4, 2) * 50
    return torch.cat([corner, corner + 1 + torch.rand(6, 4, 2) * 50], dim=2)


def test_against_torchvision():
    boxes = random_boxes()
    found = pair_geometry(boxes, PAIRS)
    assert all(values.shape == (6, 6) and values.dtype == torch.float32 for values in found)
    assert torch.equal(pair_ious(boxes, PAIRS), found.iou)
    for sample, own in enumerate(boxes):
        iou = box_iou(own, own)
        # The distance IoU is the IoU minus the squared distance of the centers over the squared
        # diagonal of the box around both.
        distance = (iou - distance_box_iou(own, own)).clamp(min=0).sqrt()
        for column, (a, b) in enumerate(PAIRS):
            assert found.iou[sample, column].item() == pytest.approx(iou[a, b].item(), abs=1e-6)
            assert found.center_distance[sample, column].item() == pytest.approx(
                distance[a, b].item(), abs=1e-3
            )


def test_against_counted_pixels():
    boxes = random_boxes().round()
    found = pair_geometry(boxes, PAIRS)
    for sample, own in enumerate(boxes.int().tolist()):
        pixels = [
            {(x, y) for x in range(left, right) for y in range(top, bottom)}
            for left, top, right, bottom in own
        ]
        for column, (a, b) in enumerate(PAIRS):
            common, sizes = len(pixels[a] & pixels[b]), sorted([len(pixels[a]), len(pixels[b])])
            values = {name: v[sample, column].item() for name, v in found._asdict().items()}
            assert values['iou'] == pytest.approx(common / len(pixels[a] | pixels[b]))
            assert values['overlap'] == pytest.approx(common / sizes[0])
            assert values['area_ratio'] == pytest.approx(sizes[0] / sizes[1])


def test_by_hand():
    boxes = torch.tensor([[[0, 0, 4, 4], [4, 4, 8, 8], [0, 0, 4, 4], [1, 1, 3, 3]]])
    found = pair_geometry(boxes, [(0, 1), (0, 2), (0, 3)])
    assert found.iou.tolist() == [[0, 1, 0.25]]
    assert found.overlap.tolist() == [[0, 1, 1]]
    assert found.area_ratio.tolist() == [[1, 1, 0.25]]
    assert found.center_distance.tolist() == [
        [pytest.approx(dist((2, 2), (6, 6)) / dist((0, 0), (8, 8))), 0, 0]
    ]
    assert found.mirrored.tolist() == [[0, 0, 0]]


def test_a_flip_moves_no_box():
    """The left third of an image is the right third of its mirror image."""
    plain, mirrored = ViewGeometry(20, 30), ViewGeometry(20, 30)
    plain.crop(0, 0, 20, 10)
    mirrored.flip('horizontal')
    mirrored.crop(0, 20, 20, 10)
    boxes = torch.tensor([[plain.box, mirrored.box]])
    found = pair_geometry(boxes, [(0, 1)], torch.tensor([[plain.flipped, mirrored.flipped]]))
    assert found.iou.tolist() == [[1]]
    assert found.center_distance.tolist() == [[0]]
    assert found.mirrored.tolist() == [[1]]


def test_which_pairs_are_mirrored():
    neither, horizontal, vertical, both = (
        [False, False],
        [True, False],
        [False, True],
        [True, True],
    )
    flips = torch.tensor([[neither, horizontal, vertical, both]])
    boxes = torch.tensor([[[0, 0, 4, 4]] * 4])
    # Two flips are a rotation by half a circle.
    expected = {(0, 1): 1, (0, 2): 1, (0, 3): 0, (1, 2): 0, (1, 3): 1, (2, 3): 1}
    found = pair_geometry(boxes, list(expected), flips).mirrored
    assert found.tolist() == [list(expected.values())]
