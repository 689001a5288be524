"""iBOT: DINO on the [CLS] token, masked patches on the diagonal (arXiv 2111.07832)."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.registry import TASK_UTILS
from torch import Tensor
from torch.nn import functional as F

from ...losses.ibot import IBOTOutputs, find_masked
from ...utils.to_device import is_asynchronous, to_device
from ..groups import ViewGroups
from ..output_sums import OutputSums
from ..scores import ScoreWeights
from .base import Algorithm, Samples, Subsets, Views
from .dino import DINOPairLoss


@TASK_UTILS.register_module()
class IBOTPairLoss(DINOPairLoss):
    """Pair loss of :class:`hvs_mm.models.IBOT`; the masks of the views come with the samples."""

    algorithms = ('IBOT',)
    # The student's patches of the target views are part of the loss.
    takes_first_online = False

    def score_weights(self, algorithm: Algorithm) -> ScoreWeights:
        return ScoreWeights(algorithm.head.cls_weight, algorithm.head.patch_weight)

    def target_inputs(
        self, algorithm: Algorithm, views: Views, num_targets: int, data_samples: Samples = None
    ) -> dict[str, Tensor]:
        algorithm.check_views(views, num_targets)
        # The masks follow their views into the training step.
        return {'masks': algorithm.masks_of(data_samples, views[:num_targets])}

    def fitted(
        self, algorithm: Algorithm, inputs: dict[str, Tensor], views: Views, subsets: Subsets
    ) -> dict[str, Any]:
        rows, columns = algorithm.patch_grid(views[0])
        # A patch of a smaller view is masked where half of what it covers is.
        masks = F.adaptive_avg_pool2d(inputs['masks'].float(), (rows, columns)) >= 0.5
        return {'masks': masks, 'visible': None if subsets is None else subsets(rows * columns)}

    def forward(
        self,
        algorithm: Algorithm,
        views: Views,
        num_targets: int,
        masks: Tensor,
        visible: Tensor | None = None,
    ) -> IBOTOutputs:
        return algorithm.outputs(views, num_targets, masks, visible=visible)

    def form(self, algorithm: Algorithm, outputs: IBOTOutputs) -> Tensor:
        return algorithm.head.pair_loss(outputs)

    def student_sums(self, algorithm: Algorithm, outputs: IBOTOutputs) -> OutputSums:
        # The student sees the global views with their masks.
        return OutputSums.of_logits(outputs.student, algorithm.head.student_temp)

    def reusable(self, algorithm: Algorithm, outputs: IBOTOutputs) -> dict[str, Tensor]:
        # Under BatchNorm in the student's head patches are not padded, those of a teacher are.
        if not algorithm.teacher_is_per_sample or algorithm.neck.has_batch_norm:
            return {}
        known = {'teacher_logits': outputs.teacher, 'teacher_patches': outputs.teacher_patches}
        if outputs.teacher_patch_means is not None:
            known['teacher_patch_means'] = outputs.teacher_patch_means
        return known

    @torch.compiler.disable
    def of_kept(
        self, values: dict[str, Tensor], kept_targets: Tensor, groups: ViewGroups
    ) -> dict[str, Any]:
        values = dict(values)
        masks, teacher_patches = values.pop('masks'), values.pop('teacher_patches', None)
        counts = masks.flatten(2).sum(2)
        masks = to_device(masks, kept_targets.device)
        kept = super().of_kept({**values, 'masks': masks}, kept_targets, groups)
        if is_asynchronous(kept_targets.device):
            # Only the device knows which views are kept, and so how many patches are masked. The
            # host knows an upper bound.
            kept['max_masked'] = _most_masked(counts, groups)
        if teacher_patches is not None:
            # (B, T, h, w): the row of every masked patch among the teacher's outputs
            rows = (masks.flatten().cumsum(0) - 1).clamp(min=0).view_as(masks)
            rows = super().of_kept({'rows': rows}, kept_targets, groups)['rows'].flatten()
            positions, _ = find_masked(kept['masks'], kept.get('max_masked'))
            kept['teacher_patches'] = teacher_patches[rows[positions]]
        return kept


def _most_masked(counts: Tensor, groups: ViewGroups) -> int:
    """Upper bound of a batch's masked patches in kept views, from those (B, T) of every target."""
    per_group = counts.split(groups.candidates[: groups.num_target_groups], dim=1)
    tops = (some.topk(kept, dim=1).values for some, kept in zip(per_group, groups.keep))
    return sum(int(top.sum()) for top in tops)
