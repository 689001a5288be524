"""The accuracy of a linear classifier on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.precision import full_precision
from .features import LabeledFeatures
from .knn import Accuracy, check_finite

#: Weight decays that are tried, the strongest first.
_DECAYS = (1.0, 0.1, 0.01, 1e-3, 1e-4)
#: Most images with which the weight decay is chosen, a fifth of them to validate.
_TUNING = 10000
_ITERATIONS = 100


class LinearResult(NamedTuple):
    """Accuracy of a linear classifier, and the weight decay that it was trained with."""

    accuracy: Accuracy
    weight_decay: float


@torch.no_grad()
def linear_accuracy(
    bank: LabeledFeatures,
    queries: LabeledFeatures,
    device: torch.device | str | None = None,
    decays: Sequence[float] = _DECAYS,
) -> LinearResult:
    """Train multinomial logistic regression on features, and classify others.

    Minimizes ``mean(cross entropy) + decay / 2 * |W|^2`` by L-BFGS on features that are
    standardized by those of the bank; the bias has no decay. That is scikit-learn's
    ``LogisticRegression(C=1 / (decay * N))``. The decay is chosen by the accuracy on a fifth of the
    bank (of 10,000 images of it at most), and the classifier is then trained on all of it. Nothing
    depends on random numbers but that choice of images, which is always the same.

    Args:
        bank: Images to train on.
        queries: Images to classify.
        device: Where to compute, by default where the features of the bank are.
        decays: Weight decays to choose from, the strongest first.

    Raises:
        ValueError: If there is no image in a part, or some features are not finite.

    Examples:
        >>> def random_features(number):
        ...     labels = torch.randint(10, (number,))
        ...     return LabeledFeatures(torch.randn(number, 8), labels, torch.arange(number))
        >>> linear_accuracy(random_features(1000), random_features(100)).accuracy.top1  # percent
    """
    for part, name in ((bank, 'bank'), (queries, 'queries')):
        check_finite(part, name)
        if not len(part):
            raise ValueError(f'there are no images in the {name}.')
    device = torch.device(bank.features.device if device is None else device)
    # (N, D), (N,)
    features, labels = bank.features.to(device).float(), bank.labels.to(device)
    std, mean = torch.std_mean(features, dim=0, correction=0)
    # A feature that is the same for all images stays 0.
    std = torch.where(std > 1e-6 * mean.abs().clamp(min=1e-12), std, torch.inf)
    features = (features - mean) / std
    classes = 1 + int(max(bank.labels.max(), queries.labels.max()))
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:_TUNING]
    held_out, rest = (part.to(device) for part in order.tensor_split([len(order) // 5]))
    weights = features.new_zeros(classes, features.shape[1] + 1)
    best = decays[0], -1.0, weights
    for decay in decays if len(held_out) else decays[:1]:
        weights = _fit(features[rest], labels[rest], decay, weights)
        accuracy = _accuracy(weights, features[held_out], labels[held_out]).top1
        # Of equal ones the strongest decay.
        best = max(best, (decay, accuracy, weights), key=lambda choice: choice[1])
    decay, _, weights = best
    weights = _fit(features, labels, decay, weights)
    inputs = (queries.features.to(device).float() - mean) / std
    return LinearResult(_accuracy(weights, inputs, queries.labels.to(device)), decay)


@full_precision
def _fit(features: Tensor, labels: Tensor, decay: float, start: Tensor) -> Tensor:
    """Weights (C, D + 1) of a classifier, the bias last, from those to start with."""
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=_ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn='strong_wolfe',
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = F.cross_entropy(_logits(weights, features), labels)
            loss = loss + decay / 2 * weights[:, :-1].square().sum()
            loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def _logits(weights: Tensor, features: Tensor) -> Tensor:
    # (N, D) x (D, C) -> (N, C)
    return torch.addmm(weights[:, -1], features, weights[:, :-1].T)


@full_precision
def _accuracy(weights: Tensor, features: Tensor, labels: Tensor) -> Accuracy:
    if not len(labels):
        return Accuracy(0.0, 0.0)
    best = _logits(weights, features).topk(min(5, len(weights)), dim=1).indices
    hits = best == labels[:, None]
    return Accuracy(*(100 * hits[:, :n].any(1).double().mean().item() for n in (1, 5)))
