from __future__ import annotations

import numpy as np
import pytest

from hvs_mm.visualization import draw_selection, to_rgb

BOXES = np.array([[[0, 0, 20, 20], [5, 5, 30, 30], [10, 0, 40, 20], [30, 10, 60, 40]]] * 2)
KEPT = np.array([[0, 3], [1, 2]])


def draw(pair_loss=None, small=0):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(2)]
    sizes = [16] * 4 + [8] * small
    views = [[rng.integers(0, 256, (s, s, 3), dtype=np.uint8) for s in sizes] for _ in range(2)]
    boxes = np.concatenate([BOXES, BOXES[:, :small]], axis=1)
    return draw_selection(images, views, boxes, KEPT, ['first', 'second'], pair_loss)


def is_solid(patch):
    return patch.get_linestyle() in ('-', 'solid')


def test_boxes_and_views():
    figure = draw()
    assert len(figure.axes) == 2 * 5
    for row, name in enumerate(('first', 'second')):
        original, *crops = figure.axes[5 * row : 5 * row + 5]
        assert original.get_title('left') == name
        boxes = {patch.get_gid(): patch for patch in original.patches}
        for view, axis in enumerate(crops):
            is_kept = view in KEPT[row]
            patch = boxes[f'view {view}']
            assert is_solid(patch) == is_kept
            assert axis.spines['left'].get_visible() == is_kept
            assert axis.get_title() == (f'{view} kept' if is_kept else str(view))
            # The boxes are where they are said to be, in pixels of the original.
            left, top, right, bottom = BOXES[row, view]
            assert patch.get_bbox().extents.tolist() == [
                left - 0.5, top - 0.5, right - 0.5, bottom - 0.5,
            ]  # fmt: skip
        # Kept boxes are not hidden under others.
        assert [is_solid(patch) for patch in original.patches] == [False, False, True, True]


def test_the_matrix_marks_the_kept_pairs():
    pair_loss = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    pair_loss[:, range(4), range(4)] = np.nan
    figure = draw(pair_loss)
    for row, kept in enumerate(KEPT.tolist()):
        matrix = figure.axes[6 * row + 5]
        # (target, view)
        marked = {(round(p.get_y() + 0.45), round(p.get_x() + 0.45)) for p in matrix.patches}
        assert marked == {(kept[0], kept[1]), (kept[1], kept[0])}
        numbers = {
            (round(t.get_position()[1]), round(t.get_position()[0])): float(t.get_text())
            for t in matrix.texts
        }
        assert len(numbers) == 12
        assert numbers[0, 1] == pair_loss[row, 0, 1]
        assert numbers[3, 0] == pytest.approx(pair_loss[row, 3, 0], rel=0.05)


def test_losses_of_a_view_and_itself_are_marked_where_there_are_any():
    figure = draw(np.random.default_rng(0).random((2, 4, 4)))
    assert len(figure.axes[5].patches) == 4


def test_smaller_views_and_their_matrix():
    figure = draw(np.random.default_rng(0).random((2, 4, 7)), small=3)
    assert len(figure.axes) == 2 * (1 + 7 + 1)
    # Too many views for numbers.
    assert not figure.axes[8].texts


def test_the_pixels_of_a_figure():
    figure = draw(np.full((2, 4, 4), np.nan))
    pixels = to_rgb(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.shape[:2] == tuple(np.round(figure.get_size_inches()[::-1] * figure.dpi))
    # The frame of a kept view, in the color of its box.
    assert (pixels == (0x00, 0x72, 0xB2)).all(-1).any()
