"""Which property of two views explains the loss of their pair."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hvs_mm.selection.statistics.color import COLOR_CHANGES, color_deviation
from hvs_mm.selection.statistics.geometry import pair_geometry


class Correlation(NamedTuple):
    """A correlation coefficient, from -1 to 1, with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Importance(NamedTuple):
    """How much a model relies on a property.

    Attributes:
        name: The property.
        mean: Loss of R2 when its values are shuffled among the pairs.
        std: Standard deviation over the shufflings.
    """

    name: str
    mean: float
    std: float


def pair_properties(
    boxes: Tensor, flips: Tensor, colors: Tensor, pairs: Sequence[tuple[int, int]]
) -> dict[str, np.ndarray]:
    """The properties in which two views of an image can differ, or that they share.

    Args:
        boxes: (B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the original image.
        flips: (B, S, 2) bool, mirrored horizontally, vertically.
        colors: (B, S, 7) as recorded by ``CandidateViews``.
        pairs: P pairs of views.

    Returns:
        By name (B, P) float32: ``iou``, ``center_distance``, ``area_ratio`` and ``mirrored``
        (:class:`~hvs_mm.selection.PairGeometry`), ``area`` (mean logarithm of the two areas), and
        for every change of colors ``..._difference`` of the two and ``..._strength``, their mean
        deviation from unchanged colors.
    """
    geometry = pair_geometry(boxes, pairs, flips)._asdict()
    # It follows from the IoU and the areas.
    del geometry['overlap']
    first, second = torch.tensor(pairs).unbind(1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1).log()
    found = {**geometry, 'area': (areas[:, first] + areas[:, second]) / 2}
    differences = (colors[:, first] - colors[:, second]).abs()
    deviations = color_deviation(colors)
    strengths = (deviations[:, first] + deviations[:, second]) / 2
    for column, name in enumerate(COLOR_CHANGES):
        found[f'{name}_difference'] = differences[..., column]
        found[f'{name}_strength'] = strengths[..., column]
    return {name: values.float().numpy() for name, values in found.items()}


def varying(properties: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those properties that are not the same for all pairs of every image."""
    return {name: v for name, v in properties.items() if np.ptp(v, axis=1).max() > 0}


def within_images(values: np.ndarray) -> np.ndarray:
    """Deviations of (B, P) values from the mean of their image.

    Selection compares the pairs of one image. How hard the image is as a whole does not matter.
    """
    return values - values.mean(1, keepdims=True)


def correlate(
    first: np.ndarray, second: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Correlation:
    """Pearson's correlation, with a bootstrap over images: the pairs of one are not independent.

    Args:
        first: (B, P).
        second: (B, P).
        resamples: Bootstrap samples for the confidence interval.
        seed: Seed of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(first), size=(resamples, len(first)))
    values = [_pearson(first[rows], second[rows]) for rows in drawn]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Correlation(_pearson(first, second), float(low), float(high))


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def check_importance(num_images: int) -> None:
    """Check that :func:`rank_importance` can be computed for some images.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than 20 images.
    """
    if find_spec('sklearn') is None:
        raise ImportError(
            'scikit-learn is not installed, which computes the importance: run "pip install '
            'scikit-learn".'
        )
    if num_images < 20:
        raise ValueError(
            f'{num_images} images are too few to fit to one half of them: it takes at least 20.'
        )


def rank_importance(
    properties: dict[str, np.ndarray], pair_loss: np.ndarray, repeats: int = 10, seed: int = 0
) -> tuple[float, list[Importance]]:
    """Permutation importance of each property for a model that predicts the loss of a pair.

    All are compared within images. Gradient boosted trees, small ones, as little is to be
    explained, are fitted to half of the images and judged on the other half. Properties that go
    together, as IoU and distance of the centers do, share their importance.

    Args:
        properties: By name (B, P).
        pair_loss: (B, P), to be explained.
        repeats: Shufflings of each property.
        seed: Seed of the halves, the trees and the shufflings.

    Returns:
        R2 on the images that were not fitted to, and the importances, the highest first.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than 20 images.
    """
    check_importance(len(pair_loss))
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance

    pair_loss = within_images(pair_loss)
    features = np.stack([within_images(values) for values in properties.values()], axis=-1)
    # By images: the pairs of one must not stand in both halves.
    order = np.random.default_rng(seed).permutation(len(pair_loss))
    fitted, judged = np.array_split(order, 2)
    model = HistGradientBoostingRegressor(
        learning_rate=0.05, max_leaf_nodes=8, early_stopping=True, random_state=seed
    )
    # (images, P, properties) -> (pairs, properties)
    model.fit(features[fitted].reshape(-1, len(properties)), pair_loss[fitted].ravel())
    rest = features[judged].reshape(-1, len(properties)), pair_loss[judged].ravel()
    result = permutation_importance(model, *rest, n_repeats=repeats, random_state=seed)
    scores = zip(properties, result.importances_mean.tolist(), result.importances_std.tolist())
    ranking = sorted((Importance(*score) for score in scores), key=lambda item: -item.mean)
    return float(model.score(*rest)), ranking
