"""DINOv2: iBOT's loss with targets of Sinkhorn-Knopp (arXiv 2304.07193, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from .ibot import IBOTOutputs, masked_cross_entropy, with_diagonal
from .sinkhorn import sinkhorn
from .swav import swav_pair_loss


def dinov2_pair_loss(
    outputs: IBOTOutputs,
    student_temperature: float,
    teacher_temperature: float,
    patch_teacher_temperature: float,
) -> Tensor:
    """The [CLS] loss of pairs of different views, the patch loss of a view on the diagonal.

    The target views of the batch are assigned to prototypes together, and so are its masked
    patches, both over all processes.

    Args:
        outputs: Logits of student and teacher.
        student_temperature: ``tau_s``, of both.
        teacher_temperature: ``tau_t`` for [CLS] tokens.
        patch_teacher_temperature: ``tau_t`` for patches.

    Returns:
        (B, T, S)
    """
    num_samples, num_targets = outputs.teacher.shape[:2]
    # (B, T, K) -> (B * T, K) and back
    target = sinkhorn(outputs.teacher.flatten(0, 1), teacher_temperature)
    target = target.unflatten(0, (num_samples, num_targets))
    counted, patches = outputs.is_masked, outputs.teacher_patches
    if counted is None:
        # A batch may have no masked patch.
        counted = torch.ones(len(patches), dtype=torch.bool, device=patches.device)
    patch_loss = masked_cross_entropy(
        sinkhorn(patches, patch_teacher_temperature, counted=counted),
        outputs.student_patches,
        student_temperature,
        outputs.rows,
        num_samples * num_targets,
        outputs.is_masked,
    )
    cls_loss = swav_pair_loss(outputs.student, target, student_temperature)
    return with_diagonal(cls_loss, patch_loss.unflatten(0, (num_samples, num_targets)))
