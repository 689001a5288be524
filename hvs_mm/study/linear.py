"""Accuracy of a linear classifier on frozen features."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import NamedTuple

from ..evaluation.features import LabeledFeatures

#: More than it takes on features of some hundred dimensions.
MAX_ITERATIONS = 5000


class LinearResult(NamedTuple):
    """What a linear classifier comes to.

    Attributes:
        accuracy: Share of the queries it gets right, in percent.
        converged: Whether the solver had come to its end.
    """

    accuracy: float
    converged: bool


def check_linear() -> None:
    """Check that :func:`linear_accuracy` can be computed.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    if find_spec('sklearn') is None:
        raise ImportError(
            'scikit-learn is not installed, which the linear evaluation needs: run "pip install '
            'scikit-learn", or set evaluation.linear=None in the study.'
        )


def linear_accuracy(
    bank: LabeledFeatures,
    queries: LabeledFeatures,
    c: float,
    max_iterations: int = MAX_ITERATIONS,
) -> LinearResult:
    """Fit scikit-learn's ``LogisticRegression`` (L-BFGS) to features and classify others.

    Every feature is standardized with mean and deviation over the bank, without which the
    regularization would depend on the scale of a network.

    Args:
        bank: Features (N, D) to fit to.
        queries: Features (M, D) to classify.
        c: Inverse strength of the regularization.
        max_iterations: Of the solver.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If the bank has a single class.
    """
    check_linear()
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=c, max_iter=max_iterations, solver='lbfgs')
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        classifier.fit(bank.features.double().numpy(), bank.labels.numpy())
    found = classifier.predict(queries.features.double().numpy()) == queries.labels.numpy()
    converged = not any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return LinearResult(100 * float(found.mean()), converged)
