"""Tell whether the outputs of a teacher have collapsed."""

from __future__ import annotations

from math import log
from typing import NamedTuple

from torch import Tensor


class OutputEntropy(NamedTuple):
    """Entropies of distributions over K prototypes, as shares of the largest possible, ``log K``.

    Attributes:
        of_mean: Of the mean distribution. Near 0, all images have the same few prototypes: what
            happens without centering.
        of_samples: Mean over the images of the entropy of each. Near 1, every output is uniform:
            what happens without sharpening.
    """

    of_mean: float
    of_samples: float

    @property
    def is_collapsed(self) -> bool:
        """Whether the outputs of different images can hardly differ."""
        return self.of_mean < 0.75 or self.of_samples > 0.98


def output_entropy(probabilities: Tensor) -> OutputEntropy:
    """Entropy of the mean output and mean entropy of the outputs (arXiv 2104.14294, section 5.3).

    Args:
        probabilities: (N, K) distributions over prototypes, one per image; N well above K makes
            the first entropy meaningful.

    Returns:
        Both entropies as shares of ``log K``.
    """

    def entropy(p: Tensor) -> Tensor:
        # 0 log 0 is 0.
        return -(p * p.clamp(min=1e-12).log()).sum(-1) / log(p.shape[-1])

    p = probabilities.double()
    return OutputEntropy(entropy(p.mean(0)).item(), entropy(p).mean().item())
