"""iBOT: cross-entropy of student and teacher at masked patches (arXiv 2111.07832, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..utils.precision import full_precision
from .dino import dino_pair_loss


@dataclass
class IBOTOutputs:
    """Outputs of the networks of iBOT for a batch of S views, the first T of them global.

    Attributes:
        student: (B, S, K) logits of the [CLS] tokens.
        teacher: (B, T, K) logits of the [CLS] tokens.
        student_patches: (M, K') logits of the masked patches of all global views.
        teacher_patches: (M, K') logits of the same patches, which the teacher sees.
        rows: (M,) int64, ``b * T + t`` for a patch of view ``t`` of sample ``b``.
        is_masked: (M,) bool, which of the patches count; ``None`` if all do.
        teacher_patch_means: (B, T, K'), means of the teacher's logits over all patches of each
            view; only with ``patch_center='all'`` of the head.
        features: (B, T, C), the student's [CLS] tokens of the global views before the projection.
    """

    student: Tensor
    teacher: Tensor
    student_patches: Tensor
    teacher_patches: Tensor
    rows: Tensor
    is_masked: Tensor | None = None
    teacher_patch_means: Tensor | None = None
    features: Tensor | None = None


@torch.compiler.disable
def find_masked(masks: Tensor, max_masked: int | None = None) -> tuple[Tensor, Tensor | None]:
    """List the masked patches, in the order of views and patches.

    Args:
        masks: Any shape, bool. The host would have to wait for a GPU to learn how many patches
            of a mask there are masked.
        max_masked: Upper bound of their number. Exactly as many patches are listed then, the masked
            ones first, without waiting.

    Returns:
        Positions (M,) int64 in the flattened masks, and (M,) bool, which are masked; ``None`` if
        all are.
    """
    flat = masks.flatten()
    if max_masked is None:
        return flat.nonzero(as_tuple=True)[0], None
    positions = flat.byte().argsort(descending=True, stable=True)[:max_masked]
    return positions, flat[positions]


@full_precision
def masked_patch_loss(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    rows: Tensor,
    num_rows: int,
    is_masked: Tensor | None = None,
) -> Tensor:
    """Mean over the masked patches of a view of the cross-entropy of teacher and student.

    Args:
        student: (M, K) logits of masked patches, of all views together.
        teacher: (M, K) logits of the same patches.
        center: (K,) or (1, K) running mean of teacher logits.
        student_temperature: ``tau_s``.
        teacher_temperature: ``tau_t`` for patches.
        rows: (M,) int64, the view that each patch belongs to.
        num_rows: R, the number of views.
        is_masked: (M,) bool, which of the patches count; by default all do.

    Returns:
        (R,) in float32, or float64 if the inputs are; zero for a view without a masked patch.
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    target = ((teacher.to(dtype) - center.to(dtype)) / teacher_temperature).softmax(-1)
    return masked_cross_entropy(target, student, student_temperature, rows, num_rows, is_masked)


@full_precision
def masked_cross_entropy(
    target: Tensor,
    student: Tensor,
    student_temperature: float,
    rows: Tensor,
    num_rows: int,
    is_masked: Tensor | None = None,
) -> Tensor:
    """:func:`masked_patch_loss` for ``target`` distributions (M, K), which sum to one."""
    logits = student.to(torch.promote_types(student.dtype, target.dtype)) / student_temperature
    # (M,)
    loss = logits.logsumexp(-1) - (target * logits).sum(-1)
    one = torch.ones_like(loss)
    if is_masked is not None:
        loss, one = (torch.where(is_masked, value, 0) for value in (loss, one))
    total = loss.new_zeros(num_rows).index_add(0, rows, loss)
    count = loss.new_zeros(num_rows).index_add(0, rows, one)
    return total / count.clamp(min=1)


def with_diagonal(pair_loss: Tensor, diagonal: Tensor) -> Tensor:
    """Replace ``L[:, t, t]`` of (B, T, S) by (B, T)."""
    return torch.diagonal_scatter(pair_loss, diagonal, dim1=1, dim2=2)


def ibot_pair_loss(
    outputs: IBOTOutputs,
    center: Tensor,
    patch_center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    patch_teacher_temperature: float,
) -> Tensor:
    """The [CLS] loss of pairs of different views, the patch loss of a view on the diagonal.

    Args:
        outputs: Logits of student and teacher.
        center: (1, K) running mean of the teacher's [CLS] logits.
        patch_center: (1, K') running mean of its patch logits.
        student_temperature: ``tau_s``, of both.
        teacher_temperature: ``tau_t`` for [CLS] tokens.
        patch_teacher_temperature: ``tau_t`` for patches.

    Returns:
        (B, T, S)
    """
    num_samples, num_targets = outputs.teacher.shape[:2]
    patches = masked_patch_loss(
        outputs.student_patches,
        outputs.teacher_patches,
        patch_center,
        student_temperature,
        patch_teacher_temperature,
        outputs.rows,
        num_samples * num_targets,
        outputs.is_masked,
    )
    cls = dino_pair_loss(
        outputs.student, outputs.teacher, center, student_temperature, teacher_temperature
    )
    return with_diagonal(cls, patches.unflatten(0, (num_samples, num_targets)))
