"""The picture of a selection in plain torch."""

from __future__ import annotations

import numpy as np
import torch

from hvs_mm.selection import HardestSelector, ViewGroups
from hvs_mm.visualization import draw_record, to_rgb
from hvs_mm.visualization.record_panel import kept_iou_captions

BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30.0]])


def selection(pair):
    """Three images, of which the pair has the highest loss."""
    pair_loss = torch.zeros(3, 4, 4)
    pair_loss[:, pair[0], pair[1]] = pair_loss[:, pair[1], pair[0]] = 1
    return HardestSelector()(pair_loss, ViewGroups([4], [2]))


def test_views_boxes_and_losses_are_drawn():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    colors = torch.rand(4, 3, 3)
    views = [
        ((color - torch.tensor(mean)) / torch.tensor(std))[..., None, None].expand(-1, -1, 8, 8)
        for color in colors
    ]
    images = [np.zeros((32, 32, 3), np.uint8)] * 2
    boxes = BOXES.expand(3, -1, -1)
    figure = draw_record(selection((1, 3)), images, views, boxes, mean, std)
    # Of two images each: the original, four views, the losses.
    assert len(figure.axes) == 2 * 6
    for row in range(2):
        original, *shown, losses = figure.axes[6 * row : 6 * row + 6]
        patches = {patch.get_gid(): patch for patch in original.patches}
        for view in range(4):
            pixels = shown[view].images[0].get_array()
            assert (pixels == (colors[view, row] * 255).round().byte().numpy()).all()
            assert patches[f'view {view}'].get_width() == 10
        assert [axis.get_title() for axis in shown] == ['0', '1 kept', '2', '3 kept']
        assert 'pair loss' in losses.get_title(loc='left')
    assert to_rgb(figure).ndim == 3


def test_captions_compare_overlaps():
    boxes = BOXES.expand(3, -1, -1)
    mean = (1 + 1 / 3 + 1 / 3) / 6
    assert kept_iou_captions(selection((0, 1)), boxes) == [f'IoU kept 1.00, mean {mean:.2f}'] * 3
    assert kept_iou_captions(selection((0, 3)), boxes) == [f'IoU kept 0.00, mean {mean:.2f}'] * 3
    three = HardestSelector()(torch.rand(3, 4, 4), ViewGroups([4], [3]))
    assert kept_iou_captions(three, boxes) == ['', '', '']
