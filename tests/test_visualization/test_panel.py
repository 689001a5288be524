from __future__ import annotations

import numpy as np

from hvs_mm.visualization import draw_selection


def test_draw_selection(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(2)]
    views = [[rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)] * 4 for _ in range(2)]
    boxes = np.array([[[0, 0, 20, 20], [5, 5, 30, 30], [10, 0, 40, 20], [30, 10, 60, 40]]] * 2)
    kept = np.array([[0, 3], [1, 2]])
    figure = draw_selection(images, views, boxes, kept, ['first', 'second'])
    assert len(figure.axes) == 2 * 5
    for row in range(2):
        original, *crops = figure.axes[5 * row : 5 * row + 5]
        solid = [patch.get_linestyle() in ('-', 'solid') for patch in original.patches]
        framed = [axis.spines['left'].get_visible() for axis in crops]
        named = ['kept' in axis.get_title() for axis in crops]
        assert solid == framed == named == [view in kept[row] for view in range(4)]
        # The boxes are where they are said to be, in pixels of the original.
        for patch, box in zip(original.patches, boxes[row]):
            left, top, right, bottom = box
            assert patch.get_bbox().extents.tolist() == [
                left - 0.5, top - 0.5, right - 0.5, bottom - 0.5,
            ]  # fmt: skip
    figure.savefig(tmp_path / 'panel.png')
    assert (tmp_path / 'panel.png').stat().st_size > 1000
