"""Measures of the health of a network that need no labels."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..selection.output_sums import OutputSums

#: Added to every normalized singular value, as RankMe does in float32.
_RANK_EPSILON = 1e-7


def rank_me(features: Tensor) -> float:
    """Effective rank of features, RankMe (`arXiv 2210.02885 <https://arxiv.org/abs/2210.02885>`_).

    ``exp(-sum_k p_k log p_k)`` with ``p_k = s_k / sum_j s_j + 1e-7`` for the singular values ``s``
    of the features, which are not centered: 1 if all are multiples of one vector, ``min(N, D)`` if
    all directions matter equally. More images raise it, so compare ranks of equally many.

    Args:
        features: (N, D), any floating dtype. One that is not finite makes the result NaN.
    """
    features = features.double()
    if not features.isfinite().all():
        # The decomposition would raise.
        return float('nan')
    values = torch.linalg.svdvals(features)
    # All features may be zero.
    shares = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny) + _RANK_EPSILON
    return torch.special.entr(shares).sum().exp().item()


def feature_std(features: Tensor) -> float:
    """Standard deviation of normalized features, the check for collapse of SimSiam.

    Source: section 4.1 of `arXiv 2011.10566 <https://arxiv.org/abs/2011.10566>`_. Features are
    scaled to unit length; the standard deviations over the images (of the population, divided by N)
    are averaged over the D dimensions and multiplied by ``sqrt(D)``. So 0 means that all features
    have one direction, and 1 that they spread evenly over the sphere, whatever D is.

    Args:
        features: (N, D), any floating dtype.
    """
    unit = F.normalize(features.double(), dim=1)
    return (unit.std(0, correction=0).mean() * features.shape[1] ** 0.5).item()


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of the normalized features of two views of an image.

    Source: `Wang and Isola, arXiv 2005.10242 <https://arxiv.org/abs/2005.10242>`_, equation 3 with
    ``alpha = 2``. From 0, if the views of every image have one direction, to 4, if they have
    opposite ones. Low is good unless uniformity is lost with it.

    Args:
        first: (N, D) features of a view of each image, any floating dtype.
        second: (N, D) features of another view.
    """
    first, second = (F.normalize(view.double(), dim=1) for view in (first, second))
    return (first - second).square().sum(1).mean().item()


def uniformity(features: Tensor) -> float:
    """Logarithm of the mean Gaussian potential of pairs of normalized features.

    Source: `Wang and Isola, arXiv 2005.10242 <https://arxiv.org/abs/2005.10242>`_, equation 4 with
    ``t = 2``: ``log mean_{i < j} exp(-2 |x_i - x_j|^2)``. 0 if all features have one direction;
    close to -4 if they spread evenly over a sphere of many dimensions.

    Args:
        features: (N, D), any floating dtype, N at least 2.
    """
    squares = F.pdist(F.normalize(features.double(), dim=1)).square()
    return ((-2 * squares).logsumexp(0) - log(len(squares))).item()


class OutputEntropy(NamedTuple):
    """Entropies of distributions over K prototypes, as shares of the largest possible, ``log K``.

    ``of_mean``, the entropy of the mean distribution, is near 0 if all images share a few
    prototypes, which happens without centering. ``of_samples``, the mean entropy of the single
    distributions, is near 1 if every output is uniform, which happens without sharpening.
    """

    of_mean: float
    of_samples: float

    @classmethod
    def of(cls, sums: OutputSums) -> OutputEntropy:
        """The entropies that the sums over distributions give."""
        return cls(*(sums.entropies() / log(len(sums.probabilities))).tolist())

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
    return OutputEntropy.of(OutputSums.of(probabilities))


def image_information(probabilities: Tensor) -> float:
    """Information of an output about which image it is of, in nats.

    ``H(mean_i p_i) - mean_i H(p_i)``, the mutual information of image and prototype if prototypes
    are drawn from the output (Bridle, Heading and MacKay, "Unsupervised classifiers, mutual
    information and phantom targets", NIPS 1991). 0 if all images have one output, at most
    ``log min(N, K)`` if each has a prototype of its own.

    Args:
        probabilities: (N, K) distributions over prototypes, one per image, any floating dtype.
    """
    return OutputSums.of(probabilities).information().item()
