"""Where a view lies in its image."""

from __future__ import annotations


class ViewGeometry:
    """The part of the original image that a view shows, in which orientation and size.

    Args:
        height, width: Size of the original image in pixels.

    Attributes:
        box: ``[x1, y1, x2, y2]`` in pixels of the original image, upper bounds exclusive, so that
            the area is ``(x2 - x1) * (y2 - y1)``.
        flipped: Whether the view is mirrored (horizontally, vertically).
        size: (height, width) of the view now, in its own pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.box = [0.0, 0.0, float(width), float(height)]
        self.flipped = [False, False]
        self.size = (height, width)

    def crop(self, top: float, left: float, height: int, width: int) -> None:
        """Cut a window out of the view, in pixels of the view now; it may exceed the borders."""
        # axis 0 is x, axis 1 is y
        for axis, (low, extent, whole) in enumerate(
            ((left, width, self.size[1]), (top, height, self.size[0]))
        ):
            start, stop = self.box[axis], self.box[axis + 2]
            if self.flipped[axis]:
                start, stop = stop, start
            step = (stop - start) / whole
            edges = (start + step * low, start + step * (low + extent))
            self.box[axis], self.box[axis + 2] = min(edges), max(edges)
        self.size = (height, width)

    def flip(self, direction: str) -> None:
        """Mirror the view: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both)."""
        self.flipped[0] ^= direction in ('horizontal', 'diagonal')
        self.flipped[1] ^= direction in ('vertical', 'diagonal')
