"""Whether a GPU selects the views that the CPU selects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from _workload import random_batch, selecting_model
from torch import Tensor

from hvs_mm.engine import build_model
from hvs_mm.selection import Selection
from hvs_mm.selection.scores import ScoreWeights, kept_scores

from .setting import Setting

#: Share of the distance from the mean to the hardest score by which a choice may miss the hardest
#: one: sums of float32 in another order.
_TOLERANCE = 1e-3


def check_same_selection(setting: Setting, method: str) -> dict[str, Any]:
    """Select from the same views with the same weights in float32, on the CPU and on the device.

    Without stochastic depth and random combinations, which each device draws from its own
    generator. On a CPU both are the same device, and only the comparison is tried.

    Returns:
        As :func:`compare_selections`.
    """
    cfg = setting.config(method)
    backbone = cfg.model.algorithm.backbone
    if 'drop_path_rate' in backbone:
        backbone.drop_path_rate = 0.0
    if isinstance(cfg.model.get('selector'), dict):
        cfg.model.selector.max_comparisons = None
    torch.manual_seed(0)
    model = selecting_model(cfg, build_model)
    model.init_weights()
    model.train()
    batch = random_batch(cfg, 4 if setting.tiny else 8)
    views = [_recolored(view) for view in batch.views]
    ours = model.select_views(views, batch.samples)
    device = torch.device(setting.device)
    model.to(device)
    with exact_float32():
        theirs = model.select_views([view.to(device) for view in views], batch.samples)
    return {'method': method, **compare_selections(ours, theirs, model.score_weights)}


def _recolored(view: Tensor) -> Tensor:
    """Views (B, 3, H, W) that differ by more than their noise, as real ones do."""
    contrast, brightness = torch.rand(2, len(view), 3, 1, 1)
    return view * (0.2 + 2 * contrast) + 2 * brightness


def compare_selections(
    ours: Selection, theirs: Selection, weights: ScoreWeights
) -> dict[str, float | str]:
    """Compare the choices of a device with those of the CPU.

    Args:
        ours: Of the CPU.
        theirs: From the same views, with the same weights, of a device.
        weights: How pair losses enter a score.

    Returns:
        ``same``, the share of samples with the same indices; ``missed``, by how much the worst
        choice of the device misses the hardest score, by the CPU's pair losses, as a share of the
        distance between the mean and the hardest score; ``difference``, the largest between two
        pair losses, relative to the largest. ``failed`` if a choice misses by more than a
        thousandth, which rounding does not explain.
    """
    indices, pair_loss = theirs.indices.cpu(), theirs.pair_loss.cpu()
    scores = kept_scores(ours.pair_loss, indices, ours.groups, weights)
    missed = ((ours.score - scores) / (ours.hardest_score - ours.mean_score)).abs().max()
    found: dict[str, float | str] = {
        'same': float((indices == ours.indices).all(1).float().mean()),
        'missed': float(missed),
        'difference': float((pair_loss - ours.pair_loss).abs().max() / ours.pair_loss.abs().max()),
    }
    # A comparison with NaN is false.
    if not missed <= _TOLERANCE:
        found['failed'] = (
            f'a choice misses the score of the CPU by {float(missed):.2g} of the range'
        )
    return found


@contextmanager
def exact_float32() -> Iterator[None]:
    """Calculate in float32 where GPUs would take TF32, whose fraction has 10 bits."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
