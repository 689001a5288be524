"""iBOT: DINO on the [CLS] token, masked patches on the diagonal (arXiv 2111.07832)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor, nn
from torch.nn import functional as F

from ..precision import full_precision
from ..scores import ScoreWeights
from .dino import DINOPairLoss


@full_precision
def masked_patch_loss(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    rows: Tensor,
    num_rows: int,
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

    Returns:
        (R,) in float32, or float64 if the inputs are; zero for a view without a masked patch.
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    logits = student.to(dtype) / student_temperature
    target = ((teacher.to(dtype) - center.to(dtype)) / teacher_temperature).softmax(-1)
    # (M,): the probabilities of the teacher sum to one
    loss = logits.logsumexp(-1) - (target * logits).sum(-1)
    total = loss.new_zeros(num_rows).index_add(0, rows, loss)
    count = loss.new_zeros(num_rows).index_add(0, rows, torch.ones_like(loss))
    return total / count.clamp(min=1)


def with_diagonal(pair_loss: Tensor, diagonal: Tensor) -> Tensor:
    """Replace ``L[:, t, t]`` of (B, T, S) by (B, T)."""
    num_targets, num_views = pair_loss.shape[1:]
    # (B, T, T) -> (B, T, S)
    diagonal = F.pad(torch.diag_embed(diagonal), (0, num_views - num_targets))
    itself = torch.eye(num_targets, num_views, dtype=torch.bool, device=pair_loss.device)
    return torch.where(itself, diagonal, pair_loss)


@TASK_UTILS.register_module()
class IBOTPairLoss(DINOPairLoss):
    """Pair loss of :class:`hvs_mm.models.IBOT`; the masks of the views come with the samples."""

    algorithms = ('IBOT',)

    def check(self, algorithm: nn.Module, groups: Any) -> None:
        super().check(algorithm, groups)
        self.weights = ScoreWeights(algorithm.head.cls_weight, algorithm.head.patch_weight)

    def with_targets(
        self,
        algorithm: nn.Module,
        views: Sequence[Tensor],
        num_targets: int,
        data_samples: Sequence[Any] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        algorithm.check_views(views, num_targets)
        masks = algorithm.masks_of(data_samples, views[:num_targets])
        outputs = algorithm.outputs(views, num_targets, masks)
        # The masks follow their views into the training step.
        reusable = {'masks': masks}
        if algorithm.teacher_is_per_sample:
            reusable['teacher_tokens'] = outputs.teacher_tokens
        return algorithm.head.pair_loss(outputs), reusable
