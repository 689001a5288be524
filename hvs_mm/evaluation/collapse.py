"""Tell whether the outputs of a teacher have collapsed."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from torch import Tensor


class OutputEntropy(NamedTuple):
    """Entropies of distributions over K prototypes, as shares of the largest possible, ``log K``.

    ``of_mean``, the entropy of the mean distribution, is near 0 if all images share a few
    prototypes, which happens without centering. ``of_samples``, the mean entropy of the single
    distributions, is near 1 if every output is uniform, which happens without sharpening.
    """

    of_mean: float
    of_samples: float

    @property
    def is_collapsed(self) -> bool:
        """Whether the outputs of different images can hardly differ."""
        return self.of_mean < 0.75 or self.of_samples > 0.98


def output_entropy(probabilities: Tensor) -> OutputEntropy:
    """Entropy of the mean output and mean entropy of the outputs (arXiv 2104.14294, section 5.3).

    ``probabilities`` (N, K) are distributions over prototypes, one per image. Fewer than 2 K images
    are a ``ValueError``.
    """
    num_images, num_prototypes = probabilities.shape
    # The mean over N evenly spread images falls short of log K by about (K - 1) / 2N. With N at
    # least 2 K that stays below 0.25, so that few images do not look like a collapse.
    if num_images < 2 * num_prototypes:
        raise ValueError(
            f'{num_images} images say too little about the mean output over {num_prototypes} '
            f'prototypes: take at least {2 * num_prototypes}.'
        )

    p = probabilities.double()
    mean, samples = (torch.special.entr(q).sum(-1) / log(num_prototypes) for q in (p.mean(0), p))
    return OutputEntropy(mean.item(), samples.mean().item())
