"""Tell whether the outputs of a teacher have collapsed."""

from __future__ import annotations

from math import log
from typing import NamedTuple

from torch import Tensor


class OutputEntropy(NamedTuple):
    """Entropies of distributions over K prototypes, as shares of the largest possible, ``log K``.

    Attributes:
        of_mean: Entropy of the mean distribution. Near 0, all images share a few prototypes, which
            happens without centering.
        of_samples: Mean entropy of the single distributions. Near 1, every output is uniform,
            which happens without sharpening.
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
        probabilities: (N, K) distributions over prototypes, one per image, with N at least 2 K.

    Raises:
        ValueError: If there are fewer images.
    """
    num_images, num_prototypes = probabilities.shape
    # The mean over N evenly spread images falls short of log K by about (K - 1) / 2N. With N at
    # least 2 K that stays below 0.25, so that few images do not look like a collapse.
    if num_images < 2 * num_prototypes:
        raise ValueError(
            f'{num_images} images say too little about the mean output over {num_prototypes} '
            f'prototypes: take at least {2 * num_prototypes}.'
        )

    def entropy(p: Tensor) -> Tensor:
        # 0 log 0 is 0.
        return -(p * p.clamp(min=1e-12).log()).sum(-1) / log(num_prototypes)

    p = probabilities.double()
    return OutputEntropy(entropy(p.mean(0)).item(), entropy(p).mean().item())
