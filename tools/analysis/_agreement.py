"""How much of a choice remains when it is made from something cheaper."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hvs_mm.selection.record import Selection
from hvs_mm.selection.scores import ScoreWeights
from hvs_mm.selection.selectors import kept_scores


@dataclass(frozen=True)
class Agreement:
    """Two choices for the same images; 95 % confidence intervals over images.

    Attributes:
        images: How many have a finite score.
        same: Share of images that keep the same views.
        retained: Share of the gap between the mean score of all combinations and that of the
            reference's choice which the other choice still has: 1 for the same choice, 0 on
            average for a random one.
        retained_error: Half the width of the interval of ``retained``.
    """

    images: int
    same: float
    retained: float
    retained_error: float


def agreement_with(
    reference: Selection, indices: Tensor, weights: ScoreWeights = ScoreWeights()
) -> Agreement:
    """Compare a choice with a reference, by the scores that the reference has.

    Args:
        reference: A selection, with its pair losses.
        indices: (B, kept) int64, the other choice.
        weights: Weights of the parts of the reference's scores.

    Raises:
        ValueError: If no image has a finite gap.
    """
    score = kept_scores(reference.pair_loss, indices, reference.groups, weights)
    gap, left = reference.score - reference.mean_score, score - reference.mean_score
    is_finite = gap.isfinite() & left.isfinite()
    gap, left = gap[is_finite].double(), left[is_finite].double()
    if not len(gap) or not gap.sum() > 0:
        raise ValueError(
            f'of {len(is_finite)} images {len(gap)} have finite scores, with a gap of '
            f'{gap.sum():.3g} between the reference and the mean: there is no choice to agree with.'
        )
    retained = left.sum() / gap.sum()
    # A ratio of two means: its variance is that of the residuals (delta method).
    residual = (left - retained * gap) / gap.mean()
    error = 1.96 * residual.square().mean().sqrt() / len(gap) ** 0.5
    same = (indices == reference.indices).all(1)[is_finite].double().mean()
    return Agreement(len(gap), same.item(), retained.item(), error.item())
