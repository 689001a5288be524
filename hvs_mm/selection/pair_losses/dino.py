"""DINO: cross-entropy of student and teacher distributions (arXiv 2104.14294, eq. 1 and 2)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS
from torch import Tensor

from ..groups import ViewGroups
from ..output_sums import OutputSums
from .base import Algorithm, PairLoss, Views


@TASK_UTILS.register_module()
class DINOPairLoss(PairLoss):
    """Pair loss of :class:`hvs_mm.models.DINO`."""

    algorithms = ('DINO',)
    takes_first_online = True
    gives_student_sums = True

    def check(self, algorithm: Algorithm, groups: ViewGroups) -> None:
        super().check(algorithm, groups)
        if groups.num_kept != algorithm.head.num_crops:
            raise ValueError(
                f'keep={list(groups.keep)} keeps {groups.num_kept} views, but the head is for '
                f'num_crops={algorithm.head.num_crops}: make them equal.'
            )

    def forward(
        self, algorithm: Algorithm, views: Views, num_targets: int, first_online: int = 0
    ) -> tuple[Tensor, Tensor]:
        algorithm.check_views(views, num_targets)
        student = algorithm.student_logits(views[first_online:])
        return student, algorithm.teacher_logits(views[:num_targets])

    def form(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> Tensor:
        return algorithm.head.pair_loss(*outputs)

    def student_sums(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> OutputSums:
        return OutputSums.of_logits(outputs[0], algorithm.head.student_temp)

    def reusable(self, algorithm: Algorithm, outputs: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {'teacher_logits': outputs[1]} if algorithm.teacher_is_per_sample else {}
