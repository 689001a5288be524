"""A random combination, the likelier the harder it is."""

from __future__ import annotations

from math import copysign, isnan
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...utils.compile_guards import compile_guards
from ...utils.registry import TASK_UTILS
from ..combinations import Combinations
from ..score_table import ScoreTable
from ..scores import finite_mean, is_finite
from ..subset_sampling import draw_category, draw_subsets, subset_tree
from .base import Dials, ScoreSelector

#: Lower temperatures could overflow.
_LOWEST = 1e-6


def check_temperature(value: Any) -> float:
    """Return a temperature as a float, or raise ``ValueError`` unless it is a number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or isnan(value):
        raise ValueError(
            f'temperature={value!r} must be a number: 0 keeps the hardest combination, '
            "float('inf') a random one, a negative one leans to the easiest."
        )
    return float(value)


@TASK_UTILS.register_module()
class SoftenedSelector(ScoreSelector):
    """Draws a combination with a probability proportional to exp(score / temperature).

    Scores are standardized within the image: mean 0 and standard deviation 1 over all its
    combinations. So a temperature means the same for all methods and at any time of a run.

    The draw is exact for any number of combinations, and lists none of them: given the target
    views, the weights of local views multiply, see :mod:`hvs_mm.selection.subset_sampling`. The
    usual short cut for subsets, the top local views after Gumbel noise is added to their terms,
    draws harder ones: for 8 of 16 views with normal terms and temperature 1 its realized hardness
    is 0.39, that of this definition 0.30; at 0.5 they are 0.65 and 0.53.

    Equal scores are equally likely. Draws come from torch's generator of the device.

    Args:
        temperature: Above 0, the lower the harder; 0 keeps the hardest combination, infinity a
            random one, and a negative temperature leans to the easiest. Below 1e-6, where
            the rounding of float32 scores decides, it acts as 1e-6.

    Raises:
        ValueError: If the temperature is NaN or no number.
    """

    dials: ClassVar[Dials] = {'temperature': check_temperature}

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = check_temperature(temperature)

    @compile_guards
    def choose(self, table: ScoreTable) -> Combinations:
        if table.num_combinations == 1 or self.temperature == 0:
            return table.extreme(1)
        mean, std, _ = table.moments()
        temperature = copysign(max(abs(self.temperature), _LOWEST), self.temperature)
        # Equal scores differ by rounding errors.
        differ = std > 8 * torch.finfo(std.dtype).eps * mean.abs()
        return draw_softened(table, torch.where(differ, 1 / (temperature * std), 0))


def draw_softened(table: ScoreTable, scale: Tensor) -> Combinations:
    """Draw a combination (K = 1) with a probability proportional to exp(scale * score).

    The ``scale`` is (B,). Combinations whose score is not finite have probability 0; a sample
    without others gets any.
    """
    logits = _log_weights(table.scale * table.cross + table.diagonal, scale)
    trees = [
        subset_tree(_log_weights(table.scale * local, scale), kept)
        for local, kept in zip(table.local, table.keep)
    ]
    for tree, kept in zip(trees, table.keep):
        logits = logits + tree[-1][..., 0, kept]
    targets = draw_category(logits)
    samples = torch.arange(len(targets), device=targets.device)
    picks = []
    for tree, kept in zip(trees, table.keep):
        chosen = [level[samples, targets] for level in tree]
        picks.append(draw_subsets(chosen, kept)[:, None])
    return Combinations(targets[:, None], tuple(picks))


def _log_weights(scores: Tensor, scale: Tensor) -> Tensor:
    """Scaled scores (B, ...), ``-inf`` where not finite.

    Their mean, which all combinations share, is subtracted: it would cost precision.
    """
    scale = scale.reshape(-1, *[1] * (scores.ndim - 1))
    center = finite_mean(scores.flatten(1)).reshape(scale.shape)
    return torch.where(is_finite(scores), (scores - center) * scale, -torch.inf)
