"""How strongly the colors of a view were changed."""

from __future__ import annotations

import torch
from torch import Tensor

#: How the transforms of a pipeline changed the colors of a view, in the values of a view that they
#: left alone: the factors of brightness, contrast and saturation, products over several jitters;
#: the shift of the hue, from -0.5 to 0.5 of the color circle, a sum; the standard deviation of the
#: Gaussian blur in pixels of the view, 0 for none; 1 if the view lost its colors, and 1 if it was
#: solarized, else 0.
UNCHANGED_COLORS = {
    'brightness': 1.0,
    'contrast': 1.0,
    'saturation': 1.0,
    'hue': 0.0,
    'blur': 0.0,
    'grayscale': 0.0,
    'solarize': 0.0,
}
#: The columns of ``view_colors`` in a data sample.
COLOR_CHANGES = tuple(UNCHANGED_COLORS)


def color_deviation(colors: Tensor) -> Tensor:
    """Absolute difference (..., 7) of each of :data:`COLOR_CHANGES` from an unchanged view."""
    return (colors - colors.new_tensor(list(UNCHANGED_COLORS.values()))).abs()


def color_difference(first: Tensor, second: Tensor) -> Tensor:
    """One number (...) for how differently the colors of two views were changed.

    The Euclidean norm of the differences of brightness, contrast, saturation and hue, as
    :func:`color_strength` has those from an unchanged view. A gray view has saturation 0 and no
    hue. Hues are compared around the color circle. Blur and solarization do not count.

    Args:
        first: (..., 7) as recorded by ``CandidateViews``.
        second: Likewise, of a shape that broadcasts with it.
    """
    brightness, contrast, saturation, hue = (_jitter(first) - _jitter(second)).unbind(-1)
    hue = hue - hue.round()
    return torch.stack([brightness, contrast, saturation, hue], -1).norm(dim=-1)


def _jitter(colors: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue (..., 4), the last two 0 for gray views."""
    is_colored = 1 - colors[..., COLOR_CHANGES.index('grayscale'), None]
    return torch.cat([colors[..., :2], colors[..., 2:4] * is_colored], -1)


def color_strength(colors: Tensor) -> Tensor:
    """One number (...) for the strength of a view's color jitter, 0 for unchanged colors.

    The Euclidean norm of the deviations of brightness, contrast, saturation and hue in ``colors``
    (..., 7), each in its own unit: with the usual ranges, 0.4 for the first two and 0.1 for the
    hue, the former weigh most.
    """
    return color_deviation(colors)[..., :4].norm(dim=-1)
