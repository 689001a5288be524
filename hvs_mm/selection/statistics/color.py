"""How strongly the colors of a view were changed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class ViewColors:
    """What the transforms of a pipeline did to the colors of a view, by default nothing.

    Attributes:
        brightness: Factor, 1 for none; of several jitters the product.
        contrast: Likewise.
        saturation: Likewise.
        hue: Shift, from -0.5 to 0.5 of the color circle; of several the sum.
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
    """Distance of each change from none.

    Args:
        colors: (..., 7) as recorded by ``CandidateViews``, the columns of :data:`COLOR_CHANGES`.

    Returns:
        (..., 7) absolute differences.
    """
    unchanged = torch.tensor(ViewColors().values(), dtype=colors.dtype, device=colors.device)
    return (colors - unchanged).abs()


def color_strength(colors: Tensor) -> Tensor:
    """One number for the strength of a view's color jitter.

    The Euclidean norm of the deviations of brightness, contrast, saturation and hue, each in its
    own unit: with the usual ranges, 0.4 for the first two and 0.1 for the hue, the former weigh
    most.

    Args:
        colors: (..., 7) as for :func:`color_deviation`.

    Returns:
        (...), 0 for unchanged colors.
    """
    return color_deviation(colors)[..., :4].norm(dim=-1)
