"""Values of pairs from the records of views, against torchvision and by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from torchvision.ops import box_iou

from hvs_mm.selection import ViewGroups
from hvs_mm.selection.recorded_values import COLOR_DIFFERENCE, NEGATIVE_IOU, view_records
from hvs_mm.selection.statistics.color import UNCHANGED_COLORS, color_difference
from tests.helpers.crops import random_boxes

CPU = torch.device('cpu')


def samples(boxes):
    return [DataSample(metainfo={'view_boxes': one.numpy()}) for one in boxes]


def test_ious_are_those_of_torchvision():
    boxes = random_boxes(20, 7)
    values = NEGATIVE_IOU.of_samples(samples(boxes), ViewGroups([3, 4], [2, 2]), CPU)
    expected = torch.stack([box_iou(one[:3], one) for one in boxes])
    torch.testing.assert_close(values, -expected)
    assert (expected == 0).any()


def colors(**changes):
    return torch.tensor([*{**UNCHANGED_COLORS, **changes}.values()])


@pytest.mark.parametrize(
    ('first', 'second', 'expected'),
    [
        ({}, {}, 0),
        ({'brightness': 1.3}, {'brightness': 0.9, 'contrast': 1.3}, 0.5),
        ({'saturation': 0.6}, {'hue': 0.3}, 0.5),
        # Around the circle.
        ({'hue': 0.4}, {'hue': -0.5}, 0.1),
        # Gray is saturation 0, whatever a jitter has done to it before.
        ({'grayscale': 1.0}, {}, 1),
        ({'grayscale': 1.0, 'saturation': 1.4, 'hue': 0.1}, {'saturation': 0.6}, 0.6),
        ({'grayscale': 1.0, 'saturation': 1.4}, {'grayscale': 1.0, 'hue': 0.1}, 0),
        ({'blur': 2.0}, {'solarize': 1.0}, 0),
    ],
)
def test_color_difference_by_hand(first, second, expected):
    first, second = colors(**first), colors(**second)
    for pair in ((first, second), (second, first)):
        assert color_difference(*pair).item() == pytest.approx(expected, abs=1e-6)


def test_color_differences_of_pairs():
    record = torch.rand(3, 5, 7)
    found = COLOR_DIFFERENCE.of_pairs(record, 2)
    assert found.shape == (3, 2, 5)
    for b, t, s in np.ndindex(3, 2, 5):
        assert found[b, t, s] == color_difference(record[b, t], record[b, s])


def test_records_by_name():
    found = view_records(samples(random_boxes(2, 4)), 'boxes')
    assert found['boxes'].shape == (2, 4, 4)


@pytest.mark.parametrize('given', [None, [DataSample(), DataSample()]])
def test_samples_without_records(given):
    message = r'view_boxes.*: the data samples have no records of the views\. Draw .* PackViews'
    with pytest.raises(ValueError, match=message):
        NEGATIVE_IOU.of_samples(given, ViewGroups([4], [2]), CPU)


def test_records_of_other_views():
    message = 'have view_boxes of 3 views, but candidates=[4] are 4: draw as many with'
    with pytest.raises(ValueError, match=re.escape(message)):
        NEGATIVE_IOU.of_samples(samples(random_boxes(2, 3)), ViewGroups([4], [2]), CPU)
