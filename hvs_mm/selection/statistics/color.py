"""How strongly the colors of a view were changed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class ViewColors:
    """How the transforms of a pipeline changed the colors of a view; unchanged by default.

    Attributes:
        brightness: Factor; the product of several jitters.
        contrast: Factor, likewise.
        saturation: Factor, likewise.
        hue: Shift, from -0.5 to 0.5 of the color circle; the sum of several jitters.
        blur: Standard deviation of the Gaussian in pixels of the view, 0 for none.
        grayscale: 1 if the view lost its colors, else 0.
        solarize: 1 if it was solarized, else 0.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    blur: float = 0.0
    grayscale: float = 0.0
    solarize: float = 0.0

    def values(self) -> tuple[float, ...]:
        """The attributes in their order."""
        # dataclasses.astuple() copies what it finds, which is slow for something done per view.
        return tuple(getattr(self, name) for name in COLOR_CHANGES)


#: The columns of ``view_colors`` in a data sample.
COLOR_CHANGES = tuple(field.name for field in fields(ViewColors))


def color_deviation(colors: Tensor) -> Tensor:
    """Absolute difference (..., 7) of each of :data:`COLOR_CHANGES` from an unchanged view."""
    unchanged = torch.tensor(ViewColors().values(), dtype=colors.dtype, device=colors.device)
    return (colors - unchanged).abs()


def color_strength(colors: Tensor) -> Tensor:
    """One number (...) for the strength of a view's color jitter, 0 for unchanged colors.

    The Euclidean norm of the deviations of brightness, contrast, saturation and hue in ``colors``
    (..., 7), each in its own unit: with the usual ranges, 0.4 for the first two and 0.1 for the
    hue, the former weigh most.
    """
    return color_deviation(colors)[..., :4].norm(dim=-1)
