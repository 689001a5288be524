"""DINO: cross-entropy of student and teacher distributions (arXiv 2104.14294, eq. 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils.precision import full_precision
from .cross_entropy import soft_cross_entropies


@full_precision
def dino_pair_loss(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """``L[b, t, s] = H(softmax((y_t - center) / tau_t), softmax(x_s / tau_s))``.

    Args:
        student: (B, S, K) logits ``x``, any floating-point dtype.
        teacher: (B, T, K) logits ``y``.
        center: (K,) or (1, K) running mean of teacher logits.
        student_temperature: ``tau_s``.
        teacher_temperature: ``tau_t``.

    Returns:
        (B, T, S) in float32, or float64 if both inputs are.
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    logits = student.to(dtype) / student_temperature
    target = ((teacher.to(dtype) - center.to(dtype)) / teacher_temperature).softmax(-1)
    return soft_cross_entropies(target, logits)


def mean_of_cross_terms(pair_loss: Tensor) -> Tensor:
    """Mean (B,) over the pairs of different views of each sample, from pair losses (B, T, S).

    The first ``T`` online views are the target views.
    """
    num_targets, num_views = pair_loss.shape[1:]
    itself = torch.eye(num_targets, num_views, dtype=torch.bool, device=pair_loss.device)
    terms = num_targets * (num_views - 1)
    return pair_loss.masked_fill(itself, 0).sum((1, 2)) / terms
