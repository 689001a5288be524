"""Collect the views that were kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .groups import ViewGroups


def gather_views(views: Sequence[Tensor], indices: Tensor, groups: ViewGroups) -> list[Tensor]:
    """The kept ones of S views (B, 3, H, W), given their ``indices`` (B, kept), int64.

    The indices stand group after group, as in a :class:`Selection`.
    """
    samples = torch.arange(len(indices), device=indices.device)
    kept = []
    for span, choices in zip(groups.spans(), indices.split(groups.keep, dim=1)):
        # (candidates, B, 3, H, W)
        candidates = torch.stack(list(views[span.start : span.stop]))
        kept += [candidates[choice - span.start, samples] for choice in choices.unbind(1)]
    return kept
