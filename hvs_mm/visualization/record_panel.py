"""Picture of a selection in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..selection.record import Selection
from ..selection.statistics.geometry import pair_ious
from .panel import draw_selection


def draw_record(
    record: Selection,
    images: Sequence[np.ndarray],
    views: Sequence[Tensor],
    boxes: Tensor,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pair_title: str = 'pair loss',
) -> Figure:
    """Picture the first images of a batch, their candidate views and which are kept.

    Args:
        record: What ``HardViews`` returned for the batch.
        images: N originals (H, W, 3) uint8, RGB, of which N are shown.
        views: The S candidate views (B, 3, H, W), RGB, with B of at least N.
        boxes: (B, S, 4) crop boxes ``x1, y1, x2, y2`` in pixels of the originals.
        mean, std: Those with which the views were normalized.
        pair_title: What the selector read, such as ``'minus IoU'``.
    """
    number = len(images)
    boxes = boxes[:number].cpu().float()
    pair_loss = record.pair_loss[:number].float().cpu().clone()
    pair_loss.diagonal(dim1=1, dim2=2).fill_(torch.nan)
    return draw_selection(
        images,
        # S times (B, 3, H, W) -> N times S times (H, W, 3)
        list(zip(*(_pixels(view[:number], mean, std) for view in views))),
        boxes.numpy(),
        record.indices[:number].cpu().numpy(),
        kept_iou_captions(record, boxes),
        pair_loss.numpy(),
        num_targets=record.groups.num_targets,
        pair_title=pair_title,
    )


def kept_iou_captions(record: Selection, boxes: Tensor) -> list[str]:
    """For each of N images, of which are the ``boxes`` (N, S, 4), the IoU of its kept target views
    and the mean IoU of all pairs; empty where not two are kept.
    """
    if record.groups.num_kept_targets != 2:
        return [''] * len(boxes)
    ious = pair_ious(boxes, record.groups.target_combinations())
    rows = zip(ious, record.target_choice.tolist())
    return [f'IoU kept {row[own]:.2f}, mean {row.mean():.2f}' for row, own in rows]


def _pixels(views: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Normalized views (N, 3, H, W) as images (N, H, W, 3) uint8."""
    center, spread = (torch.tensor(one, device=views.device)[:, None, None] for one in (mean, std))
    pixels = (views.float() * spread + center).mul(255).round().clamp(0, 255).byte()
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
