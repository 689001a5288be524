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


def numbers_of(axis):
    """The numbers in a matrix as they are printed, by (target, view)."""
    return {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axis.texts
    }


def marked_in(axis):
    return {(round(p.get_y() + 0.45), round(p.get_x() + 0.45)) for p in axis.patches}


def test_views_keep_their_colors():
    rng = np.random.default_rng(0)
    views = [[rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(4)]]
    figure = draw_selection([np.zeros((40, 60, 3), np.uint8)], views, BOXES[:1], KEPT[:1], [''])
    for axis, view in zip(figure.axes[1:], views[0]):
        (shown,) = axis.images
        assert np.array_equal(shown.get_array(), view)
        assert shown.get_alpha() is None


def test_the_matrix_marks_the_kept_pairs():
    pair_loss = np.arange(32, dtype=np.float32).reshape(2, 4, 4) ** 2
    pair_loss[:, range(4), range(4)] = np.nan
    figure = draw(pair_loss)
    for row, kept in enumerate(KEPT.tolist()):
        matrix = figure.axes[6 * row + 5]
        assert marked_in(matrix) == {tuple(kept)}
        # The score of a pair: the mean of its two directions, once.
        expected = (pair_loss[row] + pair_loss[row].T) / 2
        numbers = numbers_of(matrix)
        assert numbers.keys() == {(t, s) for t in range(4) for s in range(t + 1, 4)}
        for place, number in numbers.items():
            assert float(number) == pytest.approx(expected[place], abs=0.005)


@pytest.mark.parametrize(
    ('second', 'printed'), [(-0.91, '-0.91'), (-0.954, '-0.954'), (-0.9514, '-0.9514')]
)
def test_numbers_that_would_tie_have_more_digits(second, printed):
    """A marked pair and one that is not must not show the same number."""
    pair_loss = np.full((2, 4, 4), np.nan, dtype=np.float32)
    pair_loss[:, 0, 3] = pair_loss[:, 3, 0] = -0.951
    pair_loss[:, 1, 2] = pair_loss[:, 2, 1] = second
    numbers = numbers_of(draw(pair_loss).axes[5])
    assert numbers[1, 2] == printed
    assert float(numbers[0, 3]) == pytest.approx(-0.951, abs=0.005)
    assert numbers[0, 3] != numbers[1, 2]
    assert len(numbers) == 2


def test_equal_losses_have_two_digits():
    numbers = numbers_of(draw(np.full((2, 4, 4), -1.0, dtype=np.float32)).axes[5])
    assert set(numbers.values()) == {'-1.00'}


def test_losses_of_a_view_and_itself_are_marked_where_there_are_any():
    figure = draw(np.random.default_rng(0).random((2, 4, 4)))
    assert marked_in(figure.axes[5]) == {(0, 0), (0, 3), (3, 3)}


def test_smaller_views_and_their_matrix():
    figure = draw(np.random.default_rng(0).random((2, 4, 7)), small=3)
    assert len(figure.axes) == 2 * (1 + 7 + 1)
    # Too many views for numbers.
    assert not figure.axes[8].texts


def test_of_many_views_some_are_drawn():
    views = [[np.zeros((8, 8, 3), np.uint8)] * 64]
    boxes = np.concatenate([BOXES[:1]] * 16, axis=1)
    kept = np.array([[7, 50]])
    figure = draw_selection(
        [np.zeros((40, 60, 3), np.uint8)], views, boxes, kept, ['first'], np.zeros((1, 64, 64))
    )
    original, *crops, matrix = figure.axes
    assert original.get_title('left') == 'first\n24 of 64 views drawn'
    # The kept ones, and the first others.
    shown = [str(view) if view != 7 else '7 kept' for view in range(23)] + ['50 kept']
    assert [axis.get_title() for axis in crops] == shown
    assert len(original.patches) == 24
    # The matrix has all of them.
    assert marked_in(matrix) >= {(7, 50)}
    assert matrix.images[0].get_array().shape == (64, 64)


def test_the_pixels_of_a_figure():
    figure = draw(np.full((2, 4, 4), np.nan))
    pixels = to_rgb(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.shape[:2] == tuple(np.round(figure.get_size_inches()[::-1] * figure.dpi))
    # The frame of a kept view, in the color of its box.
    assert (pixels == (0x00, 0x72, 0xB2)).all(-1).any()
